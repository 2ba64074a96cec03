/* PUSH to PULL with libzmq's own C functions: what is left when no Python is in the way.

       libzmq_throughput receive ENDPOINT COUNT SIZE HWM
       libzmq_throughput send ENDPOINT COUNT SIZE HWM

   Says on its standard output what harness.py expects of an end: where it is bound, then its figures. The receiver
   compares every message with what is sent, number first. The wheel of pyzmq brings libzmq but not its header, so the
   functions in use are declared here; their numbers are from libzmq's reference. */

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <signal.h>
#include <time.h>

extern void *zmq_ctx_new(void);
extern int zmq_ctx_term(void *context);
extern void *zmq_socket(void *context, int type);
extern int zmq_close(void *socket);
extern int zmq_setsockopt(void *socket, int option, const void *value, size_t size);
extern int zmq_getsockopt(void *socket, int option, void *value, size_t *size);
extern int zmq_bind(void *socket, const char *endpoint);
extern int zmq_connect(void *socket, const char *endpoint);
extern int zmq_send(void *socket, const void *data, size_t size, int flags);
extern int zmq_recv(void *socket, void *data, size_t size, int flags);
extern int zmq_errno(void);
extern const char *zmq_strerror(int number);

enum { ZMQ_PULL = 7, ZMQ_PUSH = 8, ZMQ_SNDHWM = 23, ZMQ_RCVHWM = 24, ZMQ_LAST_ENDPOINT = 32 };

static void need(int ok, const char *what) {
    if (ok)
        return;
    fprintf(stderr, "%s: %s\n", what, zmq_strerror(zmq_errno()));
    exit(1);
}

static double now(clockid_t clock) {
    struct timespec time;
    clock_gettime(clock, &time);
    return time.tv_sec + 1e-9 * time.tv_nsec;
}

/* A message holds its number, then bytes that are the same in all. */
static void number(unsigned char *message, uint64_t value) {
    memcpy(message, &value, sizeof value);
}

static void receive(void *pull, uint64_t count, size_t size, unsigned char *expected) {
    unsigned char *message = malloc(size + 1);
    double wall = 0, cpu = 0;
    for (uint64_t i = 0; i < count; i++) {
        int got = zmq_recv(pull, message, size + 1, 0);
        need(got >= 0, "zmq_recv");
        number(expected, i);
        if ((size_t)got != size || memcmp(message, expected, size) != 0) {
            fprintf(stderr, "wrong: message %llu is not what was sent\n", (unsigned long long)i);
            exit(1);
        }
        if (i == 0) {
            wall = now(CLOCK_MONOTONIC);
            cpu = now(CLOCK_PROCESS_CPUTIME_ID);
        }
    }
    wall = now(CLOCK_MONOTONIC) - wall;
    cpu = now(CLOCK_PROCESS_CPUTIME_ID) - cpu;
    printf("{\"wall\": %.9f, \"cpu\": %.9f}\n", wall, cpu);
    free(message);
}

int main(int argc, char **argv) {
    if (argc != 6)
        return 2;
    int receives = strcmp(argv[1], "receive") == 0;
    const char *endpoint = argv[2];
    uint64_t count = strtoull(argv[3], NULL, 10);
    size_t size = strtoull(argv[4], NULL, 10);
    int hwm = atoi(argv[5]);
    if (size < sizeof count)
        return 2;

    prctl(PR_SET_PDEATHSIG, SIGKILL); /* not to outlive a benchmark that was stopped */
    unsigned char *message = malloc(size);
    for (size_t i = 0; i < size; i++)
        message[i] = (unsigned char)(i * 167 + 13);

    void *context = zmq_ctx_new();
    void *socket = zmq_socket(context, receives ? ZMQ_PULL : ZMQ_PUSH);
    need(socket != NULL, "zmq_socket");
    need(zmq_setsockopt(socket, receives ? ZMQ_RCVHWM : ZMQ_SNDHWM, &hwm, sizeof hwm) == 0, "zmq_setsockopt");
    if (receives) {
        char bound[256];
        size_t length = sizeof bound;
        need(zmq_bind(socket, endpoint) == 0, "zmq_bind");
        need(zmq_getsockopt(socket, ZMQ_LAST_ENDPOINT, bound, &length) == 0, "zmq_getsockopt");
        printf("{\"endpoint\": \"%s\"}\n", bound);
        fflush(stdout);
        receive(socket, count, size, message);
        zmq_close(socket);
        zmq_ctx_term(context);
    } else {
        need(zmq_connect(socket, endpoint) == 0, "zmq_connect");
        double cpu = now(CLOCK_PROCESS_CPUTIME_ID);
        for (uint64_t i = 0; i < count; i++) {
            number(message, i);
            need(zmq_send(socket, message, size, 0) == (int)size, "zmq_send");
        }
        zmq_close(socket);
        zmq_ctx_term(context); /* waits until all is written */
        printf("{\"cpu\": %.9f}\n", now(CLOCK_PROCESS_CPUTIME_ID) - cpu);
    }
    free(message);
    return 0;
}
