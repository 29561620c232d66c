/* A Video4Linux camera in user space, preloaded into a process: 64x48 YUYV, 30 frames/s, each brighter than the last.
   It offers YUYV in 64x48 at 30 and 15 and in 32x24 at 30 frames/s, and UYVY in 32x24 at 60, and takes what is nearest
   to what it is asked for.

   The path in $CAMERA opens it. It stops sending after 40 frames; streaming again it is unplugged after 40 more, and then
   gone. With $SILENT it opens again and again, and sends nothing more. With $STEADY each time is the first. With
   $BUSY=N another program has it the first N times. With $MUTE it lists nothing of what it offers, and with $RANGE sizes of YUYV from 16x16 to 64x48
   in steps of 16 and 8 at 1 to 30. Only what FFmpeg's v4l2 input asks for is answered, and those lists. */

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
static struct v4l2_pix_format set = {.width = WIDTH, .height = HEIGHT, .pixelformat = V4L2_PIX_FMT_YUYV};
static unsigned rate = 30;
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
    silent = openings > 0 && getenv("SILENT");
    if (openings > 1 && !silent)
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
    due += 1.0 / rate;
    buffer->index = queue[first++ % BUFFERS];
    buffer->bytesused = buffer->length = set.sizeimage;
    unsigned char *picture = memory + buffer->index * PLACE;
    memset(picture, 128, SIZE); /* no colour */
    frames++;
    for (int byte = set.pixelformat == V4L2_PIX_FMT_UYVY; byte < SIZE; byte += 2)
        picture[byte] = 16 + 4 * frames;
    return 0;
}

static void set_nearest(struct v4l2_pix_format *picture)
{
    int small = picture->pixelformat == V4L2_PIX_FMT_UYVY || (picture->width && picture->width <= 48);
    set.pixelformat = picture->pixelformat == V4L2_PIX_FMT_UYVY ? V4L2_PIX_FMT_UYVY : V4L2_PIX_FMT_YUYV;
    set.width = small ? 32 : WIDTH, set.height = small ? 24 : HEIGHT;
    set.bytesperline = set.width * 2, set.sizeimage = set.width * set.height * 2, set.field = V4L2_FIELD_NONE;
    rate = set.pixelformat == V4L2_PIX_FMT_UYVY ? 60 : 30;
}

static int list_format(struct v4l2_fmtdesc *entry)
{
    if (entry->index > 1 || entry->type != V4L2_BUF_TYPE_VIDEO_CAPTURE || getenv("MUTE"))
        return fail(EINVAL);
    entry->pixelformat = entry->index ? V4L2_PIX_FMT_UYVY : V4L2_PIX_FMT_YUYV;
    return 0;
}

static int list_size(struct v4l2_frmsizeenum *entry)
{
    int uyvy = entry->pixel_format == V4L2_PIX_FMT_UYVY;
    entry->type = V4L2_FRMSIZE_TYPE_DISCRETE;
    if (entry->index + uyvy > 1)
        return fail(EINVAL);
    if (!uyvy && getenv("RANGE")) {
        entry->type = V4L2_FRMSIZE_TYPE_STEPWISE;
        entry->stepwise = (struct v4l2_frmsize_stepwise){16, 64, 16, 16, 48, 8};
    } else
        entry->discrete = entry->index || uyvy ? (struct v4l2_frmsize_discrete){32, 24}
                                               : (struct v4l2_frmsize_discrete){WIDTH, HEIGHT};
    return 0;
}

static int list_time(struct v4l2_frmivalenum *entry)
{
    int uyvy = entry->pixel_format == V4L2_PIX_FMT_UYVY;
    entry->type = V4L2_FRMIVAL_TYPE_DISCRETE;
    if (!uyvy && getenv("RANGE") && !entry->index) {
        entry->type = V4L2_FRMIVAL_TYPE_STEPWISE;
        entry->stepwise = (struct v4l2_frmival_stepwise){{1, 30}, {1, 1}, {1, 30}};
        return 0;
    }
    if (entry->index > (entry->width == WIDTH))
        return fail(EINVAL);
    entry->discrete = (struct v4l2_fract){1, uyvy ? 60 : entry->index ? 15 : 30};
    return 0;
}

static int answer(unsigned long request, void *argument)
{
    switch (request) {
    case VIDIOC_QUERYCAP:
        ((struct v4l2_capability *)argument)->capabilities = V4L2_CAP_VIDEO_CAPTURE | V4L2_CAP_STREAMING;
        return 0;
    case VIDIOC_S_FMT:
        set_nearest(&((struct v4l2_format *)argument)->fmt.pix);
        ((struct v4l2_format *)argument)->fmt.pix = set;
        return 0;
    case VIDIOC_G_FMT:
        ((struct v4l2_format *)argument)->fmt.pix = set;
        return 0;
    case VIDIOC_ENUM_FMT:
        return list_format(argument);
    case VIDIOC_ENUM_FRAMESIZES:
        return list_size(argument);
    case VIDIOC_ENUM_FRAMEINTERVALS:
        return list_time(argument);
    case VIDIOC_ENUMINPUT:
        ((struct v4l2_input *)argument)->std = 0;
        return 0;
    case VIDIOC_S_PARM: {
        struct v4l2_fract asked = ((struct v4l2_streamparm *)argument)->parm.capture.timeperframe;
        rate = set.pixelformat == V4L2_PIX_FMT_UYVY ? 60 : asked.denominator <= 15 * asked.numerator ? 15 : 30;
    } /* fall through */
    case VIDIOC_G_PARM:
        ((struct v4l2_streamparm *)argument)->parm.capture.capability = V4L2_CAP_TIMEPERFRAME;
        ((struct v4l2_streamparm *)argument)->parm.capture.timeperframe = (struct v4l2_fract){1, rate};
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
        openings += !getenv("STEADY");
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
