"""Those that are used."""

from generated_messages import message_class

Header = message_class("std_msgs/msg/Header")
