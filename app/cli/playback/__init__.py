"""Playing a chat log: what a person once wrote is sent again, line for line, through real sockets.

In: a file of JSON lines (`log`). Out: one message a line, by its speaker, in its group, with the line's number as
`client_msg_id`, so that playing again doubles nothing (`player`); and what became of each (`tally`).
"""
