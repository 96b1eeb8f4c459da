"""Builds ``atomic_intenum._cffi``: core.h for interpreters whose own C API is slow, through cffi.

The functions here take and return plain integers and pointers, so that a call allocates nothing: an
outcome that carries a word's value is one int64, the value itself where it fits 32 bits, and below
that ``AIE_CFFI_RESULT - result``.
"""

from pathlib import Path

from cffi import FFI

HERE = Path(__file__).resolve().parent

DECLARATIONS = """
#define AIE_CFFI_RESULT ...
#define AIE_CFFI_LAST ...
#define AIE_OK ...
#define AIE_MISMATCH ...
#define AIE_LOCKED ...
#define AIE_BUSY ...
#define AIE_NOT_OWNER ...
#define AIE_TOO_MANY ...
#define AIE_TOO_DEEP ...
#define AIE_MAX_HELD ...
#define AIE_LIBC ...
#define AIE_MUTEX_SIZE ...
#define AIE_CONTROL_SIZE ...
#define AIE_SLICE ...

typedef ... aie_region;
aie_region *aie_cffi_map(int fd, size_t size);
char *aie_cffi_base(aie_region *region);
void aie_region_hold(aie_region *region);
void aie_region_drop(aie_region *region);
int aie_cffi_prepare(void *controls, size_t count);
void aie_cffi_publish(void *base);
uint64_t aie_cffi_published(void *base);

uint64_t aie_cffi_load(void *word);
void aie_cffi_first(void *word, int32_t value);
int64_t aie_cffi_exchange(void *word, int32_t desired);
int aie_cffi_compare_and_set(void *word, int32_t expected, int32_t desired);
int64_t aie_cffi_exchange_slice(void *word, void *control, int32_t desired, bool wait);
int aie_cffi_compare_and_set_slice(void *word, void *control, int32_t expected, int32_t desired,
                                   bool wait);

int64_t aie_cffi_now(void);
int aie_cffi_lock_try(void *control, void *word);
int aie_cffi_lock_until(void *control, void *word, int64_t deadline);
int aie_cffi_lock_release(void *control, void *word);
bool aie_cffi_lock_is_mine(void *control, void *word);
uint32_t aie_cffi_lock_depth(void *control);
uint32_t aie_cffi_lock_depth_in_process(void *control);
bool aie_cffi_lock_take_report(void *control);
"""

SOURCE = """
#include "core.h"
#include "region.h"

#define AIE_MUTEX_SIZE sizeof(pthread_mutex_t)
#define AIE_CONTROL_SIZE sizeof(aie_control)
#define AIE_CFFI_RESULT (INT64_C(-1) << 40) /* below any 32-bit value */
#define AIE_CFFI_LAST 64                    /* added to AIE_OK: that was the outermost release */

static aie_region *aie_cffi_map(int fd, size_t size)
{
    return aie_region_map(fd, size);
}

static char *aie_cffi_base(aie_region *region)
{
    return (char *)region->base;
}

static int aie_cffi_prepare(void *controls, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        int error = aie_control_init((aie_control *)controls + i);
        if (error) {
            return error;
        }
    }
    return 0;
}

static void aie_cffi_publish(void *base)
{
    /* release: pairs with the acquire of whoever looks whether the segment is complete. */
    atomic_store_explicit(&((aie_header *)base)->magic, AIE_MAGIC, memory_order_release);
}

static uint64_t aie_cffi_published(void *base)
{
    /* acquire: see aie_cffi_publish. */
    return atomic_load_explicit(&((aie_header *)base)->magic, memory_order_acquire);
}

static uint64_t aie_cffi_load(void *word)
{
    return aie_word_load(word);
}

static void aie_cffi_first(void *word, int32_t value)
{
    aie_word_first(word, value);
}

static int64_t aie_cffi_previous(aie_result result, const aie_change *change)
{
    return result == AIE_OK ? aie_word_value(change->seen) : AIE_CFFI_RESULT - (int64_t)result;
}

static int64_t aie_cffi_exchange(void *word, int32_t desired)
{
    aie_change change = {.desired = desired};
    aie_result result = aie_word_change(word, &change);
    return aie_cffi_previous(result, &change);
}

static int aie_cffi_compare_and_set(void *word, int32_t expected, int32_t desired)
{
    aie_change change = {.expected = expected, .desired = desired, .compare = true};
    return aie_word_change(word, &change);
}

static int64_t aie_cffi_deadline(bool wait)
{
    return wait ? aie_now() + AIE_SLICE : 0;
}

static int64_t aie_cffi_exchange_slice(void *word, void *control, int32_t desired, bool wait)
{
    aie_change change = {.desired = desired};
    aie_result result = aie_change_slice(word, control, &change, aie_cffi_deadline(wait));
    return aie_cffi_previous(result, &change);
}

static int aie_cffi_compare_and_set_slice(void *word, void *control, int32_t expected,
                                          int32_t desired, bool wait)
{
    aie_change change = {.expected = expected, .desired = desired, .compare = true};
    return aie_change_slice(word, control, &change, aie_cffi_deadline(wait));
}

static int64_t aie_cffi_now(void)
{
    return aie_now();
}

static int aie_cffi_lock_try(void *control, void *word)
{
    return aie_lock_try(control, word);
}

static int aie_cffi_lock_until(void *control, void *word, int64_t deadline)
{
    return aie_lock_until(control, word, deadline);
}

static int aie_cffi_lock_release(void *control, void *word)
{
    bool last = false;
    aie_result result = aie_lock_release(control, word, &last);
    return result == AIE_OK && last ? AIE_CFFI_LAST : (int)result;
}

static bool aie_cffi_lock_is_mine(void *control, void *word)
{
    return aie_lock_is_mine(control, word);
}

static uint32_t aie_cffi_lock_depth(void *control)
{
    return aie_lock_depth(control);
}

static uint32_t aie_cffi_lock_depth_in_process(void *control)
{
    return aie_lock_depth_in_process(control);
}

static bool aie_cffi_lock_take_report(void *control)
{
    return aie_lock_take_report(control);
}
"""

ffi = FFI()
ffi.cdef(DECLARATIONS)
ffi.set_source(
    "atomic_intenum._cffi",
    SOURCE,
    # Quoted includes only: with -I a header there would hide one of the system's of the same name.
    extra_compile_args=["-std=c11", "-O3", "-pthread", "-iquote", str(HERE)],
    extra_link_args=["-pthread"],
    depends=[str(header) for header in sorted(HERE.glob("*.h"))],
)

if __name__ == "__main__":
    ffi.compile(verbose=True)
