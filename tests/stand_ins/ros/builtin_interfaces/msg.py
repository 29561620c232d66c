"""Those that are used."""

from generated_messages import message_class

Time = message_class("builtin_interfaces/msg/Time")
