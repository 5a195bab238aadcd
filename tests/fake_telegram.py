"""The loopback Bot API, under the name the tests know it by."""

from monitor.botserver import *  # noqa: F403
