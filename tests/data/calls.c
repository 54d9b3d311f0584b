/* Preloaded by a test: appends a line to the file $CALLS for each write and sync, before it happens: the
   call, the file, and what begins to be written. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

static void note(const char *call, int fd, const char *text, size_t bytes) {
    char link[64], path[300] = "", line[800];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    if (readlink(link, path, sizeof path - 1) < 0) path[0] = 0;
    int length = snprintf(line, sizeof line - 1, "%s %s %.*s", call, path, bytes > 300 ? 300 : (int)bytes, text);
    for (int at = 0; at < length; at++)
        if (line[at] == '\n') line[at] = ' ';
    line[length++] = '\n';
    int file = open(getenv("CALLS"), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    syscall(SYS_write, file, line, length);
    close(file);
}

ssize_t write(int fd, const void *text, size_t bytes) {
    note("write", fd, text, bytes);
    return syscall(SYS_write, fd, text, bytes);
}

ssize_t writev(int fd, const struct iovec *parts, int count) {
    for (int part = 0; part < count; part++) note("write", fd, parts[part].iov_base, parts[part].iov_len);
    return syscall(SYS_writev, fd, parts, count);
}

int fsync(int fd) {
    note("fsync", fd, "", 0);
    return syscall(SYS_fsync, fd);
}

int fdatasync(int fd) {
    note("fdatasync", fd, "", 0);
    return syscall(SYS_fdatasync, fd);
}
