"""What clients send: the fields of OpenAI's request bodies that an emulated endpoint acts on.

All other fields of a body are ignored, as real servers do. A known field with a wrong type is an error.
"""

import json
from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from evaluation.shared.traffic import IMAGE_TOKENS

from .answers import Ask, token_count

IMAGES = ("image_url", "input_image", "image")
Limit = Annotated[int, Field(ge=1)] | None


class Part(BaseModel):
    """A part of a message: text, an image, or a tool's use and result in Anthropic's form. Others count nothing."""

    type: str | None = None
    text: str | None = None
    content: "Content" = None  # of a tool's result
    input: dict[str, object] | None = None  # of a tool's use


Content = str | list[Part] | None


class Call(BaseModel):
    """A call of a tool in a chat message."""

    function: dict[str, object] | None = None


class Message(BaseModel):
    """A chat message, or an item of a Responses input."""

    content: Content = None
    tool_calls: list[Call] | None = None
    arguments: str | None = None  # of a function call, in Responses
    output: Content = None  # the function's result, in Responses


class Function(BaseModel):
    """The function of a chat tool, or the function that `tool_choice` names."""

    model_config = ConfigDict(extra="allow")  # its schema is part of the prompt

    name: str


class Tool(BaseModel):
    """A tool: chat completions nest the function, Responses do not."""

    model_config = ConfigDict(extra="allow")

    name: str | None = None
    function: Function | None = None

    @property
    def function_name(self) -> str | None:
        """The function to call; None for tools that are not functions."""
        return self.function.name if self.function else self.name


class StreamOptions(BaseModel):
    """How a stream ends."""

    include_usage: bool = False


class Reasoning(BaseModel):
    """How much a model is to think, as Responses ask for it."""

    effort: str | None = None


class Body(BaseModel):
    """What all text routes have in common."""

    model_config = ConfigDict(extra="ignore")

    stream: bool | None = False
    stream_options: StreamOptions | None = None
    tools: list[Tool] | None = None
    tool_choice: Literal["none", "auto", "required"] | Tool | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None  # has no effect
    reasoning_effort: str | None = None
    reasoning: Reasoning | None = None

    def required_tool(self) -> str | None:
        """The function that the client requires: the named one, or the first if `tool_choice` is "required"."""
        if isinstance(self.tool_choice, Tool):
            return self.tool_choice.function_name
        if self.tool_choice != "required":
            return None
        return next((tool.function_name for tool in self.tools or [] if tool.function_name), None)

    def ask(self) -> Ask:
        """What this body asks."""
        raise NotImplementedError

    def asks(self, prompt: str, max_tokens: int | None, images: int = 0) -> Ask:
        """This body as the emulator's question."""
        tools = "".join(tool.model_dump_json(exclude_unset=True) for tool in self.tools or [])
        return Ask(
            prompt=prompt,
            max_tokens=max_tokens,
            stream=bool(self.stream),
            include_usage=self.stream_options is not None and self.stream_options.include_usage,
            tool=self.required_tool(),
            other_tokens=images * IMAGE_TOKENS + (token_count(tools) if tools else 0),
            effort=self.reasoning_effort or (None if self.reasoning is None else self.reasoning.effort),
        )


class ChatBody(Body):
    """POST /v1/chat/completions."""

    messages: Annotated[list[Message], Field(min_length=1)]
    max_tokens: Limit = None
    max_completion_tokens: Limit = None

    def ask(self) -> Ask:
        """All messages count as prompt."""
        limit = self.max_completion_tokens or self.max_tokens
        return self.asks(joined(self.messages), limit, images_in(self.messages))


class CompletionBody(Body):
    """POST /v1/completions."""

    prompt: str | list[str]
    max_tokens: Limit = None

    def ask(self) -> Ask:
        """Several prompts are answered as one."""
        return self.asks(self.prompt if isinstance(self.prompt, str) else "\n".join(self.prompt), self.max_tokens)


class ResponsesBody(Body):
    """POST /v1/responses."""

    input: str | list[Message]
    instructions: str | None = None
    max_output_tokens: Limit = None

    def ask(self) -> Ask:
        """Instructions and all input items count as prompt."""
        text = self.input if isinstance(self.input, str) else joined(self.input)
        images = 0 if isinstance(self.input, str) else images_in(self.input)
        return self.asks(f"{self.instructions}\n{text}" if self.instructions else text, self.max_output_tokens, images)


class MessagesBody(Body):
    """POST /v1/messages."""

    messages: Annotated[list[Message], Field(min_length=1)]
    max_tokens: Annotated[int, Field(ge=1)]
    system: Content = None

    def ask(self) -> Ask:
        """The system's text and all messages count as prompt."""
        text = joined(self.messages)
        prompt = f"{_text(self.system)}\n{text}" if self.system else text
        return self.asks(prompt, self.max_tokens, images_in(self.messages))


class EmbeddingsBody(BaseModel):
    """POST /v1/embeddings."""

    input: str | list[str]


def joined(messages: list[Message]) -> str:
    """The text of all messages, one per line, with the text of tool calls."""
    return "\n".join(line for message in messages for line in _lines(message))


def _lines(message: Message) -> Iterator[str]:
    yield _text(message.content) or _text(message.output) or message.arguments or ""
    for call in message.tool_calls or ():
        yield json.dumps(call.function)


def images_in(messages: list[Message]) -> int:
    """How many images all messages have."""
    return sum(_images(message.content) + _images(message.output) for message in messages)


def _images(content: Content) -> int:
    parts = content if isinstance(content, list) else []
    return sum((part.type in IMAGES) + _images(part.content) for part in parts)


def _text(content: Content) -> str:
    if isinstance(content, list):
        return "\n".join(text for part in content if (text := _part(part)))
    return content or ""


def _part(part: Part) -> str:
    return part.text or _text(part.content) or (json.dumps(part.input) if part.input else "")
