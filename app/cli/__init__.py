"""The command line: parse, call one part, print what went wrong in a line.

In: arguments and the environment. Out: a running part, or text. One module a command, each exporting
`command`; `launch` starts and keeps the processes of a whole service on one machine.
"""
