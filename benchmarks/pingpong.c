/* pingpong.c -- waking a sleeper, there and back, in plain C: the floor of what wait_for() can reach.
 *
 *     pingpong SPIN_US ROUNDS REPEATS [CPU CPU]
 *
 * Two processes share one 32-bit word.  Each waits until it is its turn, looking for SPIN_US
 * microseconds and then sleeping on a shared futex, hands the turn over and wakes the other.  It keeps
 * to the rule of csrc/word.h, that a writer who sees nobody asleep makes no system call: the word's top
 * bit says that somebody is.
 *
 * It reads a line for each repeat and answers with the seconds that one round (there and back) took,
 * so that whoever asks can have another's repeats in between: the median of blocks of 20 rounds, and
 * the mean of all.  Who spins and is interrupted falls asleep, and so does then the other, for many
 * rounds: that is in the mean.
 */
#define _GNU_SOURCE

#include <limits.h>
#include <linux/futex.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define SLEEPER 0x80000000u
#define BLOCK 20
#define MOST_BLOCKS 10000

static int64_t now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * INT64_C(1000000000) + time.tv_nsec;
}

static void relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static void wait_for(_Atomic uint32_t *word, uint32_t turn, int64_t spin)
{
    if (spin > 0) {
        int64_t until = now() + spin;
        do {
            for (int i = 0; i < 32; i++) {
                if ((atomic_load(word) & ~SLEEPER) == turn) {
                    return;
                }
                relax();
            }
        } while (now() < until);
    }
    uint32_t seen = atomic_load(word);
    while ((seen & ~SLEEPER) != turn) {
        if (!(seen & SLEEPER) && !atomic_compare_exchange_weak(word, &seen, seen | SLEEPER)) {
            continue;
        }
        syscall(SYS_futex, word, FUTEX_WAIT, seen | SLEEPER, NULL, NULL, 0);
        seen = atomic_load(word);
    }
}

static void hand_over(_Atomic uint32_t *word, uint32_t turn)
{
    if (atomic_exchange(word, turn) & SLEEPER) {
        syscall(SYS_futex, word, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
    }
}

static void pin(const char *cpu)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(atoi(cpu), &set);
    sched_setaffinity(0, sizeof(set), &set);
}

static int by_size(const void *one, const void *other)
{
    int64_t a = *(const int64_t *)one, b = *(const int64_t *)other;
    return (a > b) - (a < b);
}

int main(int argc, char **argv)
{
    static int64_t taken[MOST_BLOCKS];
    if (argc != 4 && argc != 6) {
        fprintf(stderr, "usage: %s SPIN_US ROUNDS REPEATS [CPU CPU]\n", argv[0]);
        return 2;
    }
    int64_t spin = (int64_t)(atof(argv[1]) * 1000);
    long rounds = atol(argv[2]);
    long repeats = atol(argv[3]);
    long block = rounds < BLOCK ? rounds : BLOCK;
    if (rounds < 1 || rounds % block || rounds / block > MOST_BLOCKS) {
        fprintf(stderr, "ROUNDS: fewer than %d, or a multiple of it up to %d\n", BLOCK,
                BLOCK * MOST_BLOCKS);
        return 2;
    }
    _Atomic uint32_t *word =
        mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (word == MAP_FAILED) {
        perror("mmap");
        return 1;
    }
    pid_t parent = getpid();
    pid_t child = fork();
    if (child < 0) {
        perror("fork");
        return 1;
    }
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent) {
            return 1;
        }
        if (argc == 6) {
            pin(argv[5]);
        }
        for (long i = 0; i < rounds * repeats; i++) {
            wait_for(word, 1, spin);
            hand_over(word, 0);
        }
        return 0;
    }
    if (argc == 6) {
        pin(argv[4]);
    }
    for (long repeat = 0; repeat < repeats && getchar() != EOF; repeat++) {
        size_t blocks = 0;
        int64_t all = 0;
        for (long i = 0; i < rounds; i += block) {
            int64_t start = now();
            for (long k = 0; k < block; k++) {
                hand_over(word, 1);
                wait_for(word, 0, spin);
            }
            taken[blocks] = now() - start;
            all += taken[blocks++];
        }
        qsort(taken, blocks, sizeof(taken[0]), by_size);
        double median = (double)(taken[(blocks - 1) / 2] + taken[blocks / 2]) / 2;
        printf("%.9g %.9g\n", median / 1e9 / (double)block, (double)all / 1e9 / (double)rounds);
        fflush(stdout);
    }
    return 0;
}
