"""A whole service on one machine: its broker, its processes, and what keeps them running.

In: settings. Out: processes with `DATA/run/NAME.pid` and `DATA/log/NAME.log`, or one line that says why not.
`claims` says who runs already, `preflight` whether there is room, `broker` and `kafka` find or start Kafka, `parts`
names the processes, `supervisor` keeps them, `service` puts it together.
"""
