/* A stand-in for NVIDIA's driver library: GPUs that are made of host memory, with the names and the rules of the CUDA
 * driver API as far as they are used. So the real cuda-bindings run on it, and whatever else asks for libcuda.so.1.
 *
 * What it is strict about, since a real GPU punishes it late or not at all:
 * - What is put on a stream runs only when somebody waits for that stream: who reads too early reads what was there.
 * - Host memory is read and written at that time, pinned or not: of what is not, hardware may do so (ATS, HMM).
 * - Addresses on the device are of no use to the host: reading one there is a fault of the process.
 * - Calls ask for a current context of the thread, streams for their own; what runs asks for memory that is allocated.
 * - New memory on the device is full of 0xA5, and so is freed memory.
 * - What a GPU was asked to do wrongly spoils its context for the process: every later call says so, also after
 *   everybody here let go of it, as the CUDA runtime of some library keeps it. With the last hold goes all memory in it.
 * It takes one thread at a time.
 *
 * Environment, read by every cuInit: STAND_IN_GPUS (how many; none), STAND_IN_CAPABILITY ("8.9"), STAND_IN_CUDA (the
 * driver's version, 13000), STAND_IN_MEMORY (bytes on each, 4 GiB). Beside the driver's names there are:
 *   stand_in_host(address)      the host's address of memory on a device; 0 where there is none
 *   stand_in_device_of(address) number of the GPU it is on; -1
 *   stand_in_stream_device(s)   number of the GPU of a stream; -1
 *   stand_in_illegal()          what runs tells that it was given a wrong address
 *   stand_in_count(what)        0 bytes to devices, 1 bytes to the host, 2 bytes within devices, 3 host functions run,
 *                               4 graphs launched, 5 bytes that are allocated now, 6 allocations made, 7 contexts retained,
 *                               8 bytes of host memory that are pinned now
 *   stand_in_new_process()      as if this were one: no context is spoilt any more, and what was not freed takes no room
 *   stand_in_fail(name, after, code)  the call of that name gives `code` once, after `after` calls that work
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef int R;
typedef uint64_t Ptr;
enum { OK = 0, BAD_VALUE = 1, NO_MEMORY = 2, NOT_INITIALIZED = 3, NO_DEVICE = 100, BAD_DEVICE = 101, BAD_CONTEXT = 201,
       BAD_HANDLE = 400, NOT_FOUND = 500, NOT_READY = 600, ILLEGAL_ADDRESS = 700, CAPTURE_UNSUPPORTED = 900,
       CAPTURE_INVALIDATED = 901, IS_CAPTURING = 904 };
#define DEVICE_SPACE (1ull << 56) /* no host has memory there */
#define GPUS 8

typedef struct Context { int device, users; R sticky; } Context;
typedef struct Block { char *host; size_t size; int device, owner, process; struct Block *next; } Block; /* device -1: pinned */
typedef enum { COPY, FUNCTION, LAUNCH, RECORD, WAIT } Kind;
typedef struct Event { int done, recorded; struct Stream *stream; } Event;
typedef struct Op {
  Kind kind;
  Ptr to, from;
  size_t width, rows, to_pitch, from_pitch;
  void (*function)(void *);
  void *with;
  struct Graph *graph;
  Event *event;
  struct Op *next;
} Op;
typedef struct Graph { Op *first, **last; } Graph;
typedef struct Stream { Context *context; Op *first, **last; Graph *recording; int spoilt; } Stream;
typedef struct { size_t width, y; int kind; void *host; Ptr device; void *array; size_t pitch; } Side;
typedef struct { /* CUDA_MEMCPY2D */
  size_t from_x, from_y; int from_kind; const void *from_host; Ptr from_device; void *from_array; size_t from_pitch;
  size_t to_x, to_y; int to_kind; void *to_host; Ptr to_device; void *to_array; size_t to_pitch;
  size_t width, height;
} Copy2D;

static Context contexts[GPUS];
static int gpus = -1, major, minor, version;
static Context *running; /* whose stream runs now */
static size_t room;
static int process;
static long left_over; /* bytes on devices that earlier processes did not free */
static Block *blocks;
static long counts[9];
static __thread Context *stack[16];
static __thread int depth;
static char failing[64];
static int fail_after, fail_code;

static R failure(const char *name) {
  if (strcmp(name, failing)) return OK;
  if (fail_after-- > 0) return OK;
  failing[0] = 0;
  return fail_code;
}
#define BEGIN(name) do { R f = failure(name); if (f) return f; if (gpus < 0) return NOT_INITIALIZED; } while (0)
#define BEGIN_IN_CONTEXT(name) do { BEGIN(name); if (!depth) return BAD_CONTEXT; if (CURRENT->sticky) return CURRENT->sticky; } while (0)
#define CURRENT (stack[depth - 1])

void stand_in_fail(const char *name, int after, int code) {
  snprintf(failing, sizeof failing, "%s", name);
  fail_after = after, fail_code = code;
}
void stand_in_illegal(void) { running->sticky = ILLEGAL_ADDRESS; }
void stand_in_new_process(void) {
  for (int i = 0; i < GPUS; i++) contexts[i].sticky = OK;
  process++, left_over = counts[5];
}
long stand_in_count(int what) { return counts[what]; }

static Block *find(char *at, size_t size, int pinned) {
  for (Block *b = blocks; b; b = b->next)
    if ((b->device < 0) == pinned && at >= b->host && at + size <= b->host + b->size) return b;
  return NULL;
}
static Block *on_device(Ptr address, size_t size) {
  return address < DEVICE_SPACE ? NULL : find((char *)(address - DEVICE_SPACE), size, 0);
}
void *stand_in_host(Ptr address) { return on_device(address, 1) ? (void *)(address - DEVICE_SPACE) : NULL; }
int stand_in_device_of(Ptr address) { Block *b = on_device(address, 1); return b ? b->device : -1; }
int stand_in_stream_device(Stream *stream) { return stream ? stream->context->device : -1; }

/* ---- the machine */
R cuInit(unsigned flags) {
  const char *text;
  R f = failure("cuInit");
  if (f) return f;
  gpus = (text = getenv("STAND_IN_GPUS")) ? atoi(text) : 0;
  sscanf((text = getenv("STAND_IN_CAPABILITY")) ? text : "8.9", "%d.%d", &major, &minor);
  version = (text = getenv("STAND_IN_CUDA")) ? atoi(text) : 13000;
  room = (text = getenv("STAND_IN_MEMORY")) ? strtoull(text, NULL, 10) : 4ull << 30;
  for (int i = 0; i < GPUS; i++) contexts[i].device = i;
  if (gpus < 1) { gpus = -1; return NO_DEVICE; }
  return OK;
}
R cuDriverGetVersion(int *v) { *v = version; return OK; }
R cuDeviceGetCount(int *count) { BEGIN("cuDeviceGetCount"); *count = gpus; return OK; }
R cuDeviceGet(int *device, int number) {
  BEGIN("cuDeviceGet");
  if (number < 0 || number >= gpus) return BAD_DEVICE;
  *device = number;
  return OK;
}
R cuDeviceGetName(char *name, int size, int device) {
  BEGIN("cuDeviceGetName");
  snprintf(name, size, "Stand-in %d", device);
  return OK;
}
R cuDeviceGetAttribute(int *value, int attribute, int device) {
  BEGIN("cuDeviceGetAttribute");
  *value = attribute == 75 ? major : attribute == 76 ? minor : 1;
  return OK;
}
R cuDeviceTotalMem_v2(size_t *bytes, int device) { BEGIN("cuDeviceTotalMem"); *bytes = room; return OK; }
R cuMemGetInfo_v2(size_t *left, size_t *total) {
  BEGIN_IN_CONTEXT("cuMemGetInfo");
  *total = room, *left = room - (counts[5] - left_over);
  return OK;
}
R cuGetErrorName(R error, const char **text) {
  *text = error == OK ? "CUDA_SUCCESS" : error == NO_MEMORY ? "CUDA_ERROR_OUT_OF_MEMORY"
        : error == BAD_CONTEXT ? "CUDA_ERROR_INVALID_CONTEXT" : error == ILLEGAL_ADDRESS ? "CUDA_ERROR_ILLEGAL_ADDRESS"
        : error == BAD_DEVICE ? "CUDA_ERROR_INVALID_DEVICE" : error == NO_DEVICE ? "CUDA_ERROR_NO_DEVICE"
        : "CUDA_ERROR_OTHER";
  return OK;
}
R cuGetErrorString(R error, const char **text) {
  static __thread char buffer[40];
  snprintf(buffer, sizeof buffer, "stand-in error %d", error);
  *text = error == NO_MEMORY ? "out of memory" : buffer;
  return OK;
}

static R allocate(char **host, size_t size, int device, int owner) {
  if (!size) return BAD_VALUE;
  if (device >= 0 && counts[5] - left_over + size > room) return NO_MEMORY;
  Block *block = malloc(sizeof *block);
  *block = (Block){aligned_alloc(256, (size + 255) / 256 * 256), size, device, owner, process, blocks};
  memset(block->host, 0xA5, size);
  blocks = block;
  if (device >= 0) counts[5] += size, counts[6]++;
  else counts[8] += size;
  *host = block->host;
  return OK;
}
static R release(char *host, int pinned) {
  for (Block **at = &blocks; *at; at = &(*at)->next)
    if ((*at)->host == host && ((*at)->device < 0) == pinned) {
      Block *gone = *at;
      *at = gone->next;
      counts[pinned ? 8 : 5] -= gone->size;
      if (!pinned && gone->process != process) left_over -= gone->size;
      memset(gone->host, 0xA5, gone->size);
      free(gone->host), free(gone);
      return OK;
    }
  return BAD_VALUE;
}
/* ---- contexts */
R cuDevicePrimaryCtxRetain(Context **context, int device) {
  BEGIN("cuDevicePrimaryCtxRetain");
  if (device < 0 || device >= gpus) return BAD_DEVICE;
  contexts[device].users++, counts[7]++;
  *context = &contexts[device];
  return OK;
}
R cuDevicePrimaryCtxRelease_v2(int device) {
  BEGIN("cuDevicePrimaryCtxRelease");
  if (!contexts[device].users) return BAD_CONTEXT;
  counts[7]--;
  if (--contexts[device].users) return OK;
  for (Block *b = blocks, *next; b; b = next) {
    next = b->next;
    if (b->owner == device) release(b->host, b->device < 0);
  }
  return OK;
}
R cuCtxPushCurrent_v2(Context *context) {
  BEGIN("cuCtxPushCurrent");
  if (!context || !context->users || depth == 16) return BAD_CONTEXT;
  stack[depth++] = context;
  return OK;
}
R cuCtxPopCurrent_v2(Context **context) {
  BEGIN("cuCtxPopCurrent");
  if (!depth) return BAD_CONTEXT;
  depth--;
  if (context) *context = stack[depth];
  return OK;
}
R cuCtxGetCurrent(Context **context) { BEGIN("cuCtxGetCurrent"); *context = depth ? CURRENT : NULL; return OK; }
R cuCtxGetDevice(int *device) { BEGIN_IN_CONTEXT("cuCtxGetDevice"); *device = CURRENT->device; return OK; }

/* ---- memory */
R cuMemAlloc_v2(Ptr *address, size_t size) {
  BEGIN_IN_CONTEXT("cuMemAlloc");
  char *host;
  R r = allocate(&host, size, CURRENT->device, CURRENT->device);
  if (!r) *address = (Ptr)host + DEVICE_SPACE;
  return r;
}
R cuMemFree_v2(Ptr address) { BEGIN_IN_CONTEXT("cuMemFree"); return release((char *)(address - DEVICE_SPACE), 0); }
R cuMemHostAlloc(void **host, size_t size, unsigned flags) {
  BEGIN_IN_CONTEXT("cuMemHostAlloc");
  return allocate((char **)host, size, -1, CURRENT->device);
}
R cuMemAllocHost_v2(void **host, size_t size) { return cuMemHostAlloc(host, size, 0); }
R cuMemFreeHost(void *host) { BEGIN_IN_CONTEXT("cuMemFreeHost"); return release(host, 1); }

/* ---- streams */
static R usable(Stream *stream) {
  if (!stream) return BAD_HANDLE; /* the default stream, which nobody here should use */
  return stream->context == CURRENT ? OK : BAD_CONTEXT;
}
static R put(Stream *stream, Op op) {
  R r = usable(stream);
  if (r) return r;
  Op *new = malloc(sizeof op);
  *new = op, new->next = NULL;
  Op ***last = stream->recording ? &stream->recording->last : &stream->last;
  **last = new, *last = &new->next;
  return OK;
}
static void drain(Stream *stream);
static void copy(Op *op) {
  size_t whole_to = op->to_pitch * (op->rows - 1) + op->width, whole_from = op->from_pitch * (op->rows - 1) + op->width;
  int to = op->to >= DEVICE_SPACE, from = op->from >= DEVICE_SPACE;
  if ((to && !on_device(op->to, whole_to)) || (from && !on_device(op->from, whole_from))) {
    stand_in_illegal();
    return;
  }
  char *into = (char *)(to ? op->to - DEVICE_SPACE : op->to);
  char *source = (char *)(from ? op->from - DEVICE_SPACE : op->from);
  for (size_t row = 0; row < op->rows; row++)
    memmove(into + row * op->to_pitch, source + row * op->from_pitch, op->width);
  counts[to && from ? 2 : to ? 0 : 1] += op->width * op->rows;
}
static void run(Op *op) {
  if (running->sticky) return;
  if (op->kind == COPY) copy(op);
  if (op->kind == FUNCTION) counts[3]++, op->function(op->with);
  if (op->kind == LAUNCH) {
    counts[4]++;
    for (Op *inner = op->graph->first; inner; inner = inner->next) run(inner);
  }
  if (op->kind == RECORD) op->event->done = 1;
  if (op->kind == WAIT && !op->event->done && op->event->stream) drain(op->event->stream);
}
static void drain(Stream *stream) {
  Op *op;
  Context *before = running;
  running = stream->context;
  while ((op = stream->first)) {
    if (!(stream->first = op->next)) stream->last = &stream->first;
    run(op);
    free(op);
  }
  running = before;
}
R cuStreamCreate(Stream **stream, unsigned flags) {
  BEGIN_IN_CONTEXT("cuStreamCreate");
  *stream = calloc(1, sizeof **stream);
  (*stream)->context = CURRENT, (*stream)->last = &(*stream)->first;
  return OK;
}
R cuStreamSynchronize(Stream *stream) {
  BEGIN_IN_CONTEXT("cuStreamSynchronize");
  R r = usable(stream);
  if (r) return r;
  if (stream->recording) { stream->spoilt = 1; return CAPTURE_UNSUPPORTED; }
  drain(stream);
  return CURRENT->sticky;
}
R cuStreamQuery(Stream *stream) { BEGIN_IN_CONTEXT("cuStreamQuery"); return stream->first ? NOT_READY : OK; }
R cuStreamDestroy_v2(Stream *stream) {
  BEGIN("cuStreamDestroy");
  drain(stream);
  free(stream);
  return OK;
}
static R put_copy(Stream *stream, Op op) {
  R r = usable(stream);
  if (r) return r;
  size_t size = op.from_pitch * (op.rows - 1) + op.width;
  if (stream->recording && op.from < DEVICE_SPACE && !find((char *)op.from, size, 1)) {
    stream->spoilt = 1;
    return CAPTURE_UNSUPPORTED;
  }
  return put(stream, op);
}
static Op flat(Ptr to, Ptr from, size_t size) {
  return (Op){.kind = COPY, .to = to, .from = from, .width = size, .rows = 1, .to_pitch = size, .from_pitch = size};
}
R cuMemcpyHtoDAsync_v2(Ptr to, const void *from, size_t size, Stream *stream) {
  BEGIN_IN_CONTEXT("cuMemcpyHtoDAsync");
  return to < DEVICE_SPACE ? BAD_VALUE : put_copy(stream, flat(to, (Ptr)from, size));
}
R cuMemcpyDtoHAsync_v2(void *to, Ptr from, size_t size, Stream *stream) {
  BEGIN_IN_CONTEXT("cuMemcpyDtoHAsync");
  return from < DEVICE_SPACE ? BAD_VALUE : put_copy(stream, flat((Ptr)to, from, size));
}
R cuMemcpyDtoDAsync_v2(Ptr to, Ptr from, size_t size, Stream *stream) {
  BEGIN_IN_CONTEXT("cuMemcpyDtoDAsync");
  return to < DEVICE_SPACE || from < DEVICE_SPACE ? BAD_VALUE : put_copy(stream, flat(to, from, size));
}
R cuMemcpy2DAsync_v2(const Copy2D *c, Stream *stream) {
  BEGIN_IN_CONTEXT("cuMemcpy2DAsync");
  if (c->from_kind != 2 || c->to_kind != 2) return BAD_VALUE; /* CU_MEMORYTYPE_DEVICE alone */
  if (c->width > c->to_pitch || c->width > c->from_pitch) return BAD_VALUE;
  return put_copy(stream, (Op){.kind = COPY, .to = c->to_device + c->to_y * c->to_pitch + c->to_x,
                               .from = c->from_device + c->from_y * c->from_pitch + c->from_x, .width = c->width,
                               .rows = c->height, .to_pitch = c->to_pitch, .from_pitch = c->from_pitch});
}
R cuLaunchHostFunc(Stream *stream, void (*function)(void *), void *with) {
  BEGIN_IN_CONTEXT("cuLaunchHostFunc");
  return put(stream, (Op){.kind = FUNCTION, .function = function, .with = with});
}

/* ---- events */
R cuEventCreate(Event **event, unsigned flags) {
  BEGIN_IN_CONTEXT("cuEventCreate");
  *event = calloc(1, sizeof **event);
  return OK;
}
R cuEventDestroy_v2(Event *event) { BEGIN("cuEventDestroy"); free(event); return OK; }
R cuEventRecord(Event *event, Stream *stream) {
  BEGIN_IN_CONTEXT("cuEventRecord");
  event->done = 0, event->stream = stream;
  return put(stream, (Op){.kind = RECORD, .event = event});
}
R cuEventSynchronize(Event *event) {
  BEGIN_IN_CONTEXT("cuEventSynchronize");
  if (event->stream && !event->done) drain(event->stream);
  return CURRENT->sticky;
}
R cuEventElapsedTime_v2(float *ms, Event *begin, Event *end) {
  BEGIN_IN_CONTEXT("cuEventElapsedTime");
  *ms = 1.0f;
  return begin->done && end->done ? OK : NOT_READY;
}
R cuStreamWaitEvent(Stream *stream, Event *event, unsigned flags) {
  BEGIN_IN_CONTEXT("cuStreamWaitEvent");
  return put(stream, (Op){.kind = WAIT, .event = event});
}

/* ---- graphs */
R cuStreamBeginCapture_v2(Stream *stream, int mode) {
  BEGIN_IN_CONTEXT("cuStreamBeginCapture");
  R r = usable(stream);
  if (r) return r;
  if (stream->recording) return IS_CAPTURING;
  stream->recording = calloc(1, sizeof(Graph));
  stream->recording->last = &stream->recording->first, stream->spoilt = 0;
  return OK;
}
R cuStreamEndCapture(Stream *stream, Graph **graph) {
  Graph *made = stream->recording;
  stream->recording = NULL; /* which has an end, whatever it ends in */
  *graph = NULL;
  BEGIN_IN_CONTEXT("cuStreamEndCapture");
  *graph = stream->spoilt ? NULL : made;
  return !made ? BAD_VALUE : stream->spoilt ? CAPTURE_INVALIDATED : OK;
}
R cuGraphInstantiateWithFlags(Graph **made, Graph *graph, unsigned long long flags) {
  BEGIN_IN_CONTEXT("cuGraphInstantiate");
  *made = calloc(1, sizeof **made);
  (*made)->last = &(*made)->first;
  for (Op *op = graph->first; op; op = op->next) {
    Op *same = malloc(sizeof *same);
    *same = *op, same->next = NULL;
    *(*made)->last = same, (*made)->last = &same->next;
  }
  return OK;
}
R cuGraphDestroy(Graph *graph) {
  BEGIN("cuGraphDestroy");
  for (Op *op = graph->first, *next; op; op = next) next = op->next, free(op);
  free(graph);
  return OK;
}
R cuGraphExecDestroy(Graph *graph) { return cuGraphDestroy(graph); }
R cuGraphLaunch(Graph *graph, Stream *stream) {
  BEGIN_IN_CONTEXT("cuGraphLaunch");
  return put(stream, (Op){.kind = LAUNCH, .graph = graph});
}

/* ---- how cuda-bindings and the CUDA runtime find all of it */
R cuGetProcAddress_v2(const char *name, void **function, int wanted, uint64_t flags, int *status) {
  char with_suffix[128];
  for (int suffix = 3; suffix >= 1; suffix--) {
    snprintf(with_suffix, sizeof with_suffix, suffix > 1 ? "%s_v%d" : "%s", name, suffix);
    void *own = dlopen("libcuda.so.1", RTLD_NOLOAD | RTLD_LAZY);
    *function = own ? dlsym(own, with_suffix) : NULL;
    if (*function) break;
  }
  if (status) *status = *function ? 0 : 1; /* CU_GET_PROC_ADDRESS_SYMBOL_NOT_FOUND */
  return *function ? OK : NOT_FOUND;
}
R cuGetProcAddress(const char *name, void **function, int wanted, uint64_t flags) {
  return cuGetProcAddress_v2(name, function, wanted, flags, NULL);
}
