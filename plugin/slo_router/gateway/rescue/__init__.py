"""Gives up an attempt whose deployment is silent, so that LiteLLM's own retry asks the next deployment.

A silent attempt ends as by a read timeout: what its task waits on raises one (`interrupt`). LiteLLM closes the
connection, counts a failed attempt and asks for another pick. That pick leaves out the deployments that were tried. So
the client's answer, its headers and its spend are those of any retry. If LiteLLM would not retry, the attempt is not
given up (`permission`).

This works while LiteLLM's router waits: for the first chunk of a chat, for the headers of other streams, for a whole
answer. Once the router has a stream, the plugin reads it ahead to its first token. If it is silent, the plugin asks
another deployment (`ahead`). The client has not seen a byte by then.
"""
