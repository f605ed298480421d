/* A wall clock that is wrong: preloaded into a process, adds what the file MOVED_CLOCK says, in seconds.
 *
 * The file is read at most once in a tenth of a second, so that a clock can be moved while its process runs. Only
 * the wall clock is moved. (Debian 12's libfaketime also touches clock_nanosleep, which then fails now and then.)
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static int (*real_clock_gettime)(clockid_t, struct timespec *);

static long moved_s(void)
{
    static long offset, read_at = -1;
    struct timespec now;
    real_clock_gettime(CLOCK_MONOTONIC, &now);
    long tenths = now.tv_sec * 10 + now.tv_nsec / 100000000;
    const char *path = getenv("MOVED_CLOCK");
    if (tenths == read_at || path == NULL)
        return offset;
    read_at = tenths;
    char text[32] = "";
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file >= 0) {
        if (read(file, text, sizeof text - 1) > 0)
            offset = atol(text);
        close(file);
    }
    return offset;
}

int clock_gettime(clockid_t clock, struct timespec *result)
{
    if (real_clock_gettime == NULL)
        real_clock_gettime = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    int status = real_clock_gettime(clock, result);
    if (status == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
        result->tv_sec += moved_s();
    return status;
}

int gettimeofday(struct timeval *restrict result, void *restrict zone)
{
    struct timespec now;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &now);
    result->tv_sec = now.tv_sec;
    result->tv_usec = now.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *result)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (result != NULL)
        *result = now.tv_sec;
    return now.tv_sec;
}
