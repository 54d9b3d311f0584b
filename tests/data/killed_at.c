/* Preloaded by a test: the process ends by SIGKILL before its call number $KILLED_AT that changes names or syncs. */
#define _GNU_SOURCE
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

static void counted(void) {
    static int calls;
    const char *at = getenv("KILLED_AT");
    if (at && __sync_add_and_fetch(&calls, 1) == atoi(at))
        raise(SIGKILL);
}

int fsync(int fd) { counted(); return syscall(SYS_fsync, fd); }
int fdatasync(int fd) { counted(); return syscall(SYS_fdatasync, fd); }
int ftruncate(int fd, off_t size) { counted(); return syscall(SYS_ftruncate, fd, size); }
int ftruncate64(int fd, off_t size) { counted(); return syscall(SYS_ftruncate, fd, size); }
int unlink(const char *path) { counted(); return syscall(SYS_unlinkat, -100, path, 0); }
int rename(const char *from, const char *to) { counted(); return syscall(SYS_renameat2, -100, from, -100, to, 0); }
int link(const char *from, const char *to) { counted(); return syscall(SYS_linkat, -100, from, -100, to, 0); }
int linkat(int in, const char *from, int into, const char *to, int flags) {
    counted();
    return syscall(SYS_linkat, in, from, into, to, flags);
}
