/* Preloaded into Debian 12's linux.uml, for CPUs whose extended state is larger than it knows (those with AMX).
 *
 * UML writes a process's state back by PTRACE_SETREGSET with 2696 bytes; a kernel takes nothing short of the CPU's whole
 * area, 11008 bytes with AMX, and UML dies of the EFAULT. So the whole area is read, UML's part laid over its beginning,
 * and all of it written. Where UML's part is the whole, nothing is changed.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdarg.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/uio.h>

enum { EXTENDED_STATE = 0x202 }; /* NT_X86_XSTATE */

typedef long (*ptrace_function)(int, int, void *, void *);

long ptrace(enum __ptrace_request request, ...)
{
    static ptrace_function real;
    static char area[1 << 16];
    va_list arguments;

    va_start(arguments, request);
    int process = va_arg(arguments, int);
    void *address = va_arg(arguments, void *);
    void *data = va_arg(arguments, void *);
    va_end(arguments);

    if (real == NULL)
        real = (ptrace_function)dlsym(RTLD_NEXT, "ptrace");
    if (request == PTRACE_SETREGSET && (long)address == EXTENDED_STATE) {
        struct iovec *given = data;
        struct iovec whole = {.iov_base = area, .iov_len = sizeof area};

        if (real(PTRACE_GETREGSET, process, address, &whole) < 0)
            return -1;
        if (given->iov_len < whole.iov_len) {
            memcpy(area, given->iov_base, given->iov_len);
            return real(request, process, address, &whole);
        }
    }
    return real(request, process, address, data);
}
