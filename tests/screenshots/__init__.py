"""Pictures of what people see of a check: in Icinga Web, in a terminal, in Nagios' pages.

Real front ends, real checks, real servers (the scripted ones of the tests), in network and process
namespaces of their own: nothing leaves them, and whatever was started ends with them.
"""
