"""Starts moto's server with quicker answers to three questions that it asks itself for every message: the time, how
long a queue keeps messages (moto counts the whole queue for it), and which services there are. The answers are moto's.

    moto_server.py -H <host> -p <port>
"""

import functools
import time

from moto import backends
from moto.core import utils

of_a_date = utils.unix_time


def unix_time(date=None):
    return time.time() if date is None else of_a_date(date)


# These come before the import of moto's SQS, which takes them over by name.
utils.unix_time = unix_time
utils.unix_time_millis = lambda date=None: unix_time(date) * 1000.0
services = backends.list_of_moto_modules
backends.list_of_moto_modules = functools.cache(lambda: tuple(services()))

from moto.server import main  # noqa: E402
from moto.sqs.models import SQSBackend  # noqa: E402


def is_kept(self, queue_name, message):
    kept = self.get_queue(queue_name).message_retention_period
    return kept + message.sent_timestamp / 1000 > unix_time()


SQSBackend.is_message_valid_based_on_retention_period = is_kept
main()
