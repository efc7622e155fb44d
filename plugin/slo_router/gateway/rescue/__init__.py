"""Gives up an attempt whose deployment is silent, so that LiteLLM's own retry asks the next one.

A silent attempt ends as it would by a read timeout: what its task waits on raises one (`interrupt`). LiteLLM closes
the connection, counts a failed attempt and asks for another pick, which leaves out whoever was tried. So the client's
answer, its headers, its spend and what follows are those of any retry. Where LiteLLM would not retry, nobody is given
up (`permission`).

So it is while LiteLLM's router waits: for the first chunk of a chat, for the headers of other streams, for a whole
answer. Once it has a stream, that is read ahead to its first token, and another is asked for where it is silent
(`ahead`). The client has not seen a byte by then.
"""
