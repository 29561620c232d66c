/* A Video4Linux camera in user space, preloaded into a process: 64x48 YUYV, 30 frames/s, each brighter than the last.

   The path in $CAMERA opens it. It stops sending after 40 frames; opened again it is unplugged after 40 more, and then
   gone. With $SILENT it opens again and again, and sends nothing more. With $BUSY=N another program has
   it the first N times. Only what FFmpeg's v4l2 input asks for is answered. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/videodev2.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

enum { WIDTH = 64, HEIGHT = 48, SIZE = WIDTH * HEIGHT * 2, PLACE = 8192, BUFFERS = 32, FRAMES = 40 };

static int camera = -1, waits, openings, frames, silent, busy = -1;
static int queue[BUFFERS], first, last;
static unsigned char *memory;
static double due;

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec + time.tv_nsec * 1e-9;
}

static int fail(int code)
{
    errno = code;
    return -1;
}

static int open_camera(int flags)
{
    if (busy < 0)
        busy = getenv("BUSY") ? atoi(getenv("BUSY")) : 0;
    if (busy && busy--)
        return fail(EBUSY);
    silent = ++openings > 1 && getenv("SILENT");
    if (openings > 2 && !silent)
        return fail(ENODEV);
    camera = memfd_create("camera", 0);
    if (ftruncate(camera, BUFFERS * PLACE))
        return -1;
    memory = mmap(NULL, BUFFERS * PLACE, PROT_READ | PROT_WRITE, MAP_SHARED, camera, 0);
    waits = !(flags & O_NONBLOCK);
    first = last = 0;
    frames = silent ? FRAMES : 0;
    return camera;
}

static int give_frame(struct v4l2_buffer *buffer)
{
    if (frames == FRAMES && openings == 2 && !silent)
        return fail(ENODEV);
    if (frames == FRAMES || now() < due) {
        if (!waits)
            return fail(EAGAIN);
        usleep(frames == FRAMES ? 1000000000 : (useconds_t)((due - now()) * 1e6));
    }
    due += 1 / 30.0;
    buffer->index = queue[first++ % BUFFERS];
    buffer->bytesused = buffer->length = SIZE;
    unsigned char *picture = memory + buffer->index * PLACE;
    memset(picture, 128, SIZE); /* no colour */
    frames++;
    for (int byte = 0; byte < SIZE; byte += 2)
        picture[byte] = 16 + 4 * frames;
    return 0;
}

static int answer(unsigned long request, void *argument)
{
    switch (request) {
    case VIDIOC_QUERYCAP:
        ((struct v4l2_capability *)argument)->capabilities = V4L2_CAP_VIDEO_CAPTURE | V4L2_CAP_STREAMING;
        return 0;
    case VIDIOC_G_FMT:
    case VIDIOC_S_FMT: {
        struct v4l2_pix_format *picture = &((struct v4l2_format *)argument)->fmt.pix;
        picture->width = WIDTH, picture->height = HEIGHT, picture->bytesperline = WIDTH * 2;
        picture->sizeimage = SIZE, picture->pixelformat = V4L2_PIX_FMT_YUYV, picture->field = V4L2_FIELD_NONE;
        return 0;
    }
    case VIDIOC_ENUMINPUT:
        ((struct v4l2_input *)argument)->std = 0;
        return 0;
    case VIDIOC_G_PARM:
    case VIDIOC_S_PARM:
        ((struct v4l2_streamparm *)argument)->parm.capture.timeperframe = (struct v4l2_fract){1, 30};
        return 0;
    case VIDIOC_QUERYBUF: {
        struct v4l2_buffer *buffer = argument;
        buffer->length = PLACE, buffer->m.offset = buffer->index * PLACE;
        return 0;
    }
    case VIDIOC_QBUF:
        queue[last++ % BUFFERS] = ((struct v4l2_buffer *)argument)->index;
        return 0;
    case VIDIOC_DQBUF:
        return give_frame(argument);
    case VIDIOC_REQBUFS:
        ((struct v4l2_requestbuffers *)argument)->count = BUFFERS;
        return 0;
    case VIDIOC_STREAMON:
        due = now();
        return 0;
    case VIDIOC_G_INPUT:
        *(int *)argument = 0;
        return 0;
    case VIDIOC_S_INPUT:
    case VIDIOC_STREAMOFF:
        return 0;
    default:
        return fail(EINVAL);
    }
}

int open64(const char *path, int flags, ...)
{
    const char *ours = getenv("CAMERA");
    if (ours && !strcmp(path, ours))
        return open_camera(flags);
    va_list more;
    va_start(more, flags);
    int mode = va_arg(more, int);
    va_end(more);
    int (*real)(const char *, int, ...) = dlsym(RTLD_NEXT, "open64");
    return real(path, flags, mode);
}

int open(const char *path, int flags, ...)
{
    va_list more;
    va_start(more, flags);
    int mode = va_arg(more, int);
    va_end(more);
    return open64(path, flags, mode);
}

int close(int file)
{
    if (file == camera)
        camera = -1;
    int (*real)(int) = dlsym(RTLD_NEXT, "close");
    return real(file);
}

int ioctl(int file, unsigned long request, ...)
{
    va_list more;
    va_start(more, request);
    void *argument = va_arg(more, void *);
    va_end(more);
    if (file == camera && camera >= 0)
        return answer(request & 0xffffffff, argument);
    int (*real)(int, unsigned long, ...) = dlsym(RTLD_NEXT, "ioctl");
    return real(file, request, argument);
}
