"""A whole service on one machine: its broker, its processes, and what keeps them running.

In: settings. Out: processes with `DATA/run/NAME.pid` and `DATA/log/NAME.log`, or one line that says why not.
`claims` says who runs already, `preflight` and `ports` whether there is room, `broker` and `kafka` find or start Kafka,
`rabbitmq` says whether there is one, `parts` names the processes, `supervisor` keeps them, `readiness` asks them how
they are, `service` puts it together.
"""
