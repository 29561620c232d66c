"""Memory on a GPU and recorded work, through the real cuda-bindings on a stand-in for NVIDIA's driver."""

from __future__ import annotations

import ctypes
import sys
import weakref
from contextlib import suppress

import numpy as np
import pytest

from vmdepth_runtime.errors import InputError, WorkError
from vmdepth_runtime.sessions import cuda_memory
from vmdepth_runtime.sessions.cuda_graph import record
from vmdepth_runtime.sessions.cuda_memory import CudaMemory
from vmdepth_runtime.sessions.state_buffers import HostMemory

UNKNOWN, STREAM_CAPTURE_INVALIDATED = 999, 901


@pytest.fixture
def memory(stand_in_gpu):
    memory = CudaMemory()
    yield memory
    memory.close()


@pytest.mark.parametrize("place", ["pinned", "plain"])
def test_it_copies_as_host_memory_does(memory, place):
    def run(there):
        source, target = there.allocate(60), there.allocate(60)
        numbers = np.arange(60, dtype=np.uint8)
        if place == "pinned" and there is memory:
            pinned = memory.pinned((60,), "uint8")
            pinned[...] = numbers
            numbers = pinned
        there.upload(source, numbers)
        there.upload(target, np.zeros(60, np.uint8))
        there.copy(target + 40, source, 20)
        there.copy_rows(target, 10, source + 20, 4, 3)
        found = memory.pinned((3, 5, 4), "uint8") if place == "pinned" else np.empty((3, 5, 4), np.uint8)
        there.download(found, target)
        there.wait()
        return found

    np.testing.assert_array_equal(run(memory), run(HostMemory()))


def test_memory_of_the_host_is_copied_when_its_turn_comes(memory):
    address, pinned = memory.allocate(4), memory.pinned((1,), "float32")
    for found in (memory.pinned((1,), "float32"), np.zeros(1, np.float32)):
        pinned[0] = 2
        memory.upload(address, pinned)
        pinned[0] = 3
        memory.download(found, address)
        assert found.tolist() == [0]  # nobody has waited yet
        memory.wait()
        assert found.tolist() == [3]


def test_arrays_that_are_not_pinned_are_read_whole_though_nobody_else_has_them(memory):
    places = [memory.allocate(4) for _ in range(20)]
    for number, place in enumerate(places):
        memory.upload(place, np.full(1, number, np.float32))  # whose memory the next would get
    memory.wait()
    found = np.empty(20, np.float32)
    for number, place in enumerate(places):
        memory.download(found[number:][:1], place)
    memory.wait()
    assert found.tolist() == list(range(20))


@pytest.mark.parametrize("call", [CudaMemory.upload, lambda memory, place, array: memory.download(array, place)])
def test_arrays_that_are_not_pinned_are_kept_until_somebody_waits(memory, call):
    array = np.zeros(1, np.float32)
    there = weakref.ref(array)
    call(memory, memory.allocate(4), array)
    del array
    assert there() is not None
    memory.wait()
    assert there() is None


def test_pinned_arrays_are_not_kept_and_their_addresses_are_forgotten(memory):
    place, array = memory.allocate(4), memory.pinned((1,), "float32")
    memory.upload(place, array)
    assert memory._awaited == []
    memory.wait()
    del array
    assert memory._pinned == set()


def test_closing_gives_everything_back_but_arrays_that_somebody_has(stand_in_gpu, leaves_nothing):
    with leaves_nothing():
        memory = CudaMemory()
        memory.allocate(1000)
        array = memory.pinned((3,), "float32")
        array[...] = 7
        part = array[1:]
        del array
        memory.close()
        memory.close()
        assert part.tolist() == [7, 7]
        pinned = stand_in_gpu.count("PINNED")
        del part
        assert pinned - stand_in_gpu.count("PINNED") == 12


def test_what_was_current_is_again(standing_in):
    with standing_in(gpus="2"):
        first, second = CudaMemory(0), CudaMemory(1)
        assert _current() is None
        with second.current():
            theirs = _current()
            first.upload(first.allocate(4), np.zeros(4, np.uint8))
            first.wait()
            assert _current() == theirs
            first.close()
            assert _current() == theirs
            second.upload(second.allocate(4), np.zeros(4, np.uint8))
        assert _current() is None
        second.close()


def test_blocks_of_two_gpus_within_each_other(standing_in):
    with standing_in(gpus="2"):
        first, second = CudaMemory(0), CudaMemory(1)
        places = [(memory, memory.allocate(4)) for memory in (first, second)]
        with first.current(), second.current(), suppress(ZeroDivisionError), first.current():
            for memory, address in places:
                memory.upload(address, np.full(1, memory is first, np.float32))
            raise ZeroDivisionError
        for memory, address in places:
            found = np.zeros(1, np.float32)
            memory.download(found, address)
            memory.wait()
            assert found.tolist() == [memory is first]
            memory.close()
        assert _current() is None


def test_within_a_block_the_context_is_not_set_again(memory, stand_in_gpu):
    address = memory.allocate(4)
    with memory.current():
        stand_in_gpu.fail("cuCtxPushCurrent", UNKNOWN)
        memory.copy(address, address, 4)
        memory.wait()
    with pytest.raises(WorkError, match="the GPU cannot be used"):
        memory.wait()


def test_a_copy_of_rows_is_described_once(memory):
    here, there = memory.allocate(40), memory.allocate(40)
    for _ in range(2):
        for slot in range(3):
            memory.copy_rows(there + slot, 10, here, 4, 3)
    memory.wait()
    assert len(memory._row_copies) == 3


def _current():
    context = ctypes.c_void_p()
    assert ctypes.CDLL("libcuda.so.1").cuCtxGetCurrent(ctypes.byref(context)) == 0
    return context.value


@pytest.mark.parametrize(
    ("call", "told"),
    [
        ("cuInit", "GPU 0: the GPU cannot start"),
        ("cuDeviceGet", "GPU 0: the GPU cannot be found"),
        ("cuDevicePrimaryCtxRetain", "GPU 0: the GPU cannot be opened"),
        ("cuCtxPushCurrent", "the GPU cannot be used"),
        ("cuStreamCreate", "the GPU cannot make a stream"),
    ],
)
def test_a_gpu_that_does_not_start_is_one_line_and_leaves_nothing(stand_in_gpu, leaves_nothing, call, told):
    with leaves_nothing():
        stand_in_gpu.fail(call, UNKNOWN)
        with pytest.raises((InputError, WorkError), match=f"^{told}: CUDA_ERROR_UNKNOWN") as refused:
            CudaMemory()
        assert isinstance(refused.value, InputError) == told.startswith("GPU 0")


@pytest.mark.parametrize(
    ("error", "remedy"),
    [(2, "end what else uses it, or take a smaller"), (700, "end this process and"), (719, "end this process and")],
)
@pytest.mark.parametrize("call", ["cuDevicePrimaryCtxRetain", "cuStreamCreate"])
def test_memory_that_is_full_and_a_process_that_is_spoilt_are_not_the_gpu_s_fault(
    stand_in_gpu, leaves_nothing, call, error, remedy
):
    with leaves_nothing():
        stand_in_gpu.fail(call, error)
        with pytest.raises(WorkError, match=f"^the GPU cannot .*: CUDA_ERROR_\\w+; {remedy}"):
            CudaMemory()


@pytest.mark.parametrize("call", ["cuMemHostAlloc", "cuDevicePrimaryCtxRetain"])
def test_host_memory_that_cannot_be_pinned_leaves_nothing(stand_in_gpu, leaves_nothing, call):
    with leaves_nothing():
        memory = CudaMemory()
        stand_in_gpu.fail(call, UNKNOWN)
        with pytest.raises(WorkError, match="CUDA_ERROR_UNKNOWN"):
            memory.pinned((3,), "uint8")
        memory.close()


def test_no_gpu_and_no_such_gpu(standing_in):
    with standing_in(gpus="0"), pytest.raises(InputError, match=r"GPU 0: the GPU cannot start: CUDA_ERROR_NO_DEVICE"):
        CudaMemory()
    with standing_in(), pytest.raises(InputError, match=r"GPU 3: the GPU cannot be found: CUDA_ERROR_INVALID_DEVICE"):
        CudaMemory(3)


def test_without_cuda_bindings_one_line_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "cuda.bindings.driver", None)
    with pytest.raises(InputError, match=r"cuda-bindings, which cannot be imported .*: pip install"):
        cuda_memory.load_driver()


@pytest.fixture
def copying(memory):
    """An upload to be recorded: from where, to where, and what puts it on the stream."""
    source, target = memory.pinned((1,), "float32"), memory.allocate(4)

    def enqueue():
        memory.upload(target, source)
        return True

    def there():
        found = np.zeros(1, np.float32)
        memory.download(found, target)
        memory.wait()
        return found[0]

    return source, enqueue, there


def test_what_is_recorded_runs_when_it_is_launched_and_every_time(memory, copying):
    source, enqueue, there = copying
    with memory.current():
        assert enqueue() and there() == 0
        graph = record(memory.stream, enqueue)
        for before, number in ((0, 5), (5, 6)):
            source[0] = number
            assert there() == before
            graph.launch()
            assert there() == number
        graph.close()


@pytest.mark.parametrize("call", ["cuStreamBeginCapture", "cuStreamEndCapture", "cuGraphInstantiate"])
def test_where_nothing_can_be_recorded_the_stream_goes_on(memory, copying, stand_in_gpu, call):
    source, enqueue, there = copying
    with memory.current():
        stand_in_gpu.fail(call, STREAM_CAPTURE_INVALIDATED)
        assert record(memory.stream, enqueue) is None
        source[0] = 4
        enqueue()
        assert there() == 4


def test_what_cannot_be_enqueued_or_fails_on_the_way_is_not_recorded(memory, copying):
    source, enqueue, there = copying
    target = memory.allocate(4)

    def copy_what_is_not_pinned():
        memory.upload(target, np.zeros(1, np.float32))
        return True

    with memory.current():
        assert record(memory.stream, lambda: False) is None
        with pytest.raises(WorkError, match="the GPU cannot copy: CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED"):
            record(memory.stream, copy_what_is_not_pinned)
        source[0] = 9
        enqueue()
        assert there() == 9
