"""Those that are used."""

from generated_messages import message_class

ParameterDescriptor = message_class("rcl_interfaces/msg/ParameterDescriptor")
