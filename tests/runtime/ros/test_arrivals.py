"""Pictures between the two threads."""

from types import SimpleNamespace

from vmdepth_runtime.ros.arrivals import Arrivals


def at(seconds):
    stamp = SimpleNamespace(sec=int(seconds), nanosec=round(seconds % 1 * 1e9))
    return SimpleNamespace(header=SimpleNamespace(stamp=stamp))


def test_the_newest_is_taken_and_the_others_counted():
    arrivals, pictures = Arrivals(max_gap=2.0), [at(number) for number in range(7)]
    for picture in pictures[:5]:
        arrivals.put(picture)
    assert (arrivals.take(), arrivals.dropped) == ((pictures[4], ""), 4)
    arrivals.put(pictures[5])
    assert (arrivals.take(), arrivals.dropped) == ((pictures[5], ""), 4)
    arrivals.put(pictures[6])
    arrivals.close()
    assert arrivals.take() is None


def test_time_jumps_between_pictures_that_come_whichever_are_taken():
    arrivals = Arrivals(max_gap=2.0)
    told = []
    for seconds in ([10, 11, 12, 13], [14, 20, 21], [22], [15, 16], [16], [16.5]):
        for second in seconds:
            arrivals.put(at(second))
        told.append(arrivals.take().jump)
    assert told == ["", "nothing came for 6 s", "", "time went back by 7 s", "", ""]
