// What the programs share: the kernel's basic types, map types and the histogram.
//
// Written for CO-RE: the kernel's structs are declared in each program with just the fields that are used, and their
// offsets are taken from the running kernel's BTF when the program is loaded.
#pragma once

typedef unsigned char __u8;
typedef unsigned short __u16;
typedef unsigned int __u32;
typedef unsigned long long __u64;
typedef signed int __s32;
typedef signed long long __s64;
typedef __u16 __be16;
typedef __u32 __be32;
typedef __u32 __wsum;

// include/uapi/linux/bpf.h, enum bpf_map_type. Named here so that no kernel headers are needed.
#define BPF_MAP_TYPE_HASH 1
#define BPF_MAP_TYPE_ARRAY 2
#define BPF_MAP_TYPE_PERCPU_HASH 5
#define BPF_MAP_TYPE_PERCPU_ARRAY 6
#define BPF_MAP_TYPE_LRU_HASH 9
#define BPF_ANY 0

#include <bpf/bpf_helpers.h>

#define ALWAYS_INLINE __attribute__((always_inline)) inline

// Bucket i counts what took at most 2^i microseconds, the last one all others. ebpf/src/histogram.rs says the same.
#define BUCKETS 26

struct histogram {
    __u64 buckets[BUCKETS];
    __u64 sum_ns;
};

// The number of the first power of two that is not below `value`.
static ALWAYS_INLINE __u32 power(__u64 value)
{
    __u32 bits = 0;

    if (value <= 1)
        return 0;
    value -= 1;
    if (value >> 32) {
        value >>= 32;
        bits += 32;
    }
    if (value >> 16) {
        value >>= 16;
        bits += 16;
    }
    if (value >> 8) {
        value >>= 8;
        bits += 8;
    }
    if (value >> 4) {
        value >>= 4;
        bits += 4;
    }
    if (value >> 2) {
        value >>= 2;
        bits += 2;
    }
    if (value >> 1) {
        value >>= 1;
        bits += 1;
    }
    return bits + value;
}

// Counts one wait. The histogram is this CPU's own and preemption is off: there is no other writer.
static ALWAYS_INLINE void observe(struct histogram *histogram, __u64 ns)
{
    __u32 bucket = power((ns + 999) / 1000);

    if (bucket >= BUCKETS)
        bucket = BUCKETS - 1;
    histogram->buckets[bucket] += 1;
    histogram->sum_ns += ns;
}
