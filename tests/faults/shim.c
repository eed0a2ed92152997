/* Preloaded into a process: lets its writes fail, and its clock jump, once it has armed itself.

   Counted is everything that changes a file below the prefix: write, pwrite, writev, ftruncate, a creating open,
   rename, mkdir, symlink, unlink is not, for it makes room. From the failing one on, all fail alike (a full
   disk stays full), or that one alone. Children of the process are not armed. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

static char prefix[PATH_MAX];
static long count, fails_at; /* 0: never */
static int number, lasts;
static long jump; /* seconds, at most */
static pid_t armed;

void shim_arm(const char *below, long at, int error, int lasting, long seconds) {
    strncpy(prefix, below, sizeof prefix - 1);
    count = 0; fails_at = at; number = error; lasts = lasting; jump = seconds; armed = getpid();
}
long shim_count(void) { return count; }

static int refused(const char *path) {
    if (!armed || armed != getpid() || strncmp(path, prefix, strlen(prefix))) return 0;
    long n = __atomic_add_fetch(&count, 1, __ATOMIC_SEQ_CST);
    if (!fails_at || (lasts ? n < fails_at : n != fails_at)) return 0;
    errno = number;
    return 1;
}
static int refused_fd(int fd) {
    char link[64], path[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, sizeof path - 1);
    if (n < 0) return 0;
    path[n] = 0;
    return refused(path);
}
static int refused_at(int folder, const char *path) {
    char link[64], whole[2 * PATH_MAX];
    if (path[0] == '/') return refused(path);
    if (folder == AT_FDCWD) { if (!getcwd(whole, PATH_MAX)) return 0; }
    else {
        snprintf(link, sizeof link, "/proc/self/fd/%d", folder);
        ssize_t n = readlink(link, whole, PATH_MAX - 1);
        if (n < 0) return 0;
        whole[n] = 0;
    }
    strncat(whole, "/", 2); strncat(whole, path, PATH_MAX - 1);
    return refused(whole);
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))
ssize_t write(int fd, const void *b, size_t n) { return refused_fd(fd) ? -1 : REAL(write)(fd, b, n); }
ssize_t pwrite(int fd, const void *b, size_t n, off_t o) { return refused_fd(fd) ? -1 : REAL(pwrite)(fd, b, n, o); }
ssize_t pwrite64(int fd, const void *b, size_t n, off64_t o) { return refused_fd(fd) ? -1 : REAL(pwrite64)(fd, b, n, o); }
ssize_t writev(int fd, const struct iovec *v, int n) { return refused_fd(fd) ? -1 : REAL(writev)(fd, v, n); }
int ftruncate(int fd, off_t n) { return refused_fd(fd) ? -1 : REAL(ftruncate)(fd, n); }
int ftruncate64(int fd, off64_t n) { return refused_fd(fd) ? -1 : REAL(ftruncate64)(fd, n); }
int rename(const char *a, const char *b) { return refused_at(AT_FDCWD, b) ? -1 : REAL(rename)(a, b); }
int renameat(int d, const char *a, int e, const char *b) { return refused_at(e, b) ? -1 : REAL(renameat)(d, a, e, b); }
int mkdir(const char *p, mode_t m) { return refused_at(AT_FDCWD, p) ? -1 : REAL(mkdir)(p, m); }
int symlink(const char *a, const char *b) { return refused_at(AT_FDCWD, b) ? -1 : REAL(symlink)(a, b); }
int symlinkat(const char *a, int d, const char *b) { return refused_at(d, b) ? -1 : REAL(symlinkat)(a, d, b); }

#define OPEN(name, folder, path, flags, ...) \
    mode_t mode = 0; \
    if ((flags) & (O_CREAT | O_TMPFILE)) { va_list rest; va_start(rest, flags); mode = va_arg(rest, mode_t); va_end(rest); } \
    if (((flags) & O_CREAT) && refused_at(folder, path)) return -1; \
    return REAL(name)(__VA_ARGS__, mode)
int open(const char *path, int flags, ...) { OPEN(open, AT_FDCWD, path, flags, path, flags); }
int open64(const char *path, int flags, ...) { OPEN(open64, AT_FDCWD, path, flags, path, flags); }
int openat(int d, const char *path, int flags, ...) { OPEN(openat, d, path, flags, d, path, flags); }
int openat64(int d, const char *path, int flags, ...) { OPEN(openat64, d, path, flags, d, path, flags); }

int clock_gettime(clockid_t id, struct timespec *now) {
    static unsigned long seed = 1;
    int status = REAL(clock_gettime)(id, now);
    if (!status && id == CLOCK_REALTIME && jump && armed == getpid()) {
        seed = seed * 6364136223846793005UL + 1442695040888963407UL;
        now->tv_sec += (long)((seed >> 33) % (2 * jump + 1)) - jump;
    }
    return status;
}
