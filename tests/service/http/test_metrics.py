"""What a service counts about itself is what its clients saw."""

import numpy as np

from spikesight.service.client import Ack, Client, Prediction
from tests.support.inputs.samples import picture, some_events
from tests.support.models import tiny
from tests.support.serving.servers import running
from tests.support.serving.streams import SENSOR, STREAM, answered, finished


def counted(client: Client, name: str) -> float:
    """A sample's value; 0 where nothing was counted yet."""
    lines = client._ask("GET", "/metrics").decode().splitlines()
    return next((float(line.rpartition(" ")[2]) for line in lines if line.startswith(f"spikesight_{name} ")), 0.0)


def test_streams_and_uploads_are_counted_as_their_clients_saw_them() -> None:
    with running(classifiers=(tiny(),), max_pending=4) as port:
        client = Client(f"http://127.0.0.1:{port}")
        for _ in range(2):
            client.predict(picture())
        assert counted(client, 'decode_seconds_count{model="tiny"}') == 2
        steps = counted(client, 'steps_total{model="tiny"}')
        with client.stream(**STREAM) as stream:
            stream.send_events(some_events(400))
            seen = finished(stream)
            assert counted(client, 'sessions{model="tiny"}') == 1
        assert counted(client, 'steps_total{model="tiny"}') - steps == len(seen) > 5
        kept, dropped = (
            counted(client, f'events_total{{filter="{name}",model="tiny"}}') for name in ("kept", "dropped")
        )
        assert (kept, dropped) == (400, 0)
        with client.stream(mode="freshest", picture=True, **SENSOR) as stream:
            for part in np.array_split(some_events(900, span_us=900_000), 6):
                stream.send_events(part)
            told = [message.dropped for message in answered(stream) if isinstance(message, Ack | Prediction)]
        assert counted(client, 'dropped_steps_total{model="tiny"}') == max(told) > 0
        assert counted(client, 'queue_depth{model="tiny"}') == 0
