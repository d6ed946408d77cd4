"""The processor: a Faust worker that owns partitions and decides their commands.

In: records of the commands topic. Out: one event a command, or a reply; the tables behind them; answers to gateways'
reads. `partition` is one partition's life (open, serve, close), `ownership` all of a worker's, `transport` Faust
tamed, `views` what gateways ask, `inspection` what operators ask, `processor` the worker itself.
"""
