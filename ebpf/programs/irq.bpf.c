// Time in interrupts: in handlers of hardware interrupts, and in soft interrupts by their kind.

#include "common.h"

// Kinds of soft interrupts (include/linux/interrupt.h), and one place more for hardware interrupts.
#define SOFT 10
#define HARD SOFT
#define KINDS (SOFT + 1)

struct spent {
    __u64 begun;
    __u64 ns;
    __u64 count;
};

struct {
    __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
    __uint(max_entries, KINDS);
    __type(key, __u32);
    __type(value, struct spent);
} spent SEC(".maps");

static ALWAYS_INLINE void begin(__u32 kind)
{
    struct spent *entry = bpf_map_lookup_elem(&spent, &kind);

    if (entry)
        entry->begun = bpf_ktime_get_ns();
}

static ALWAYS_INLINE void end(__u32 kind)
{
    struct spent *entry = bpf_map_lookup_elem(&spent, &kind);

    // The programs may have come while one was under way.
    if (!entry || !entry->begun)
        return;
    entry->ns += bpf_ktime_get_ns() - entry->begun;
    entry->count += 1;
    entry->begun = 0;
}

SEC("tp_btf/softirq_entry")
int on_soft_entry(__u64 *ctx)
{
    begin(ctx[0]);
    return 0;
}

SEC("tp_btf/softirq_exit")
int on_soft_exit(__u64 *ctx)
{
    end(ctx[0]);
    return 0;
}

// Handlers of one CPU do not nest: the kernel runs them with interrupts off.
SEC("tp_btf/irq_handler_entry")
int on_hard_entry(__u64 *ctx)
{
    begin(HARD);
    return 0;
}

SEC("tp_btf/irq_handler_exit")
int on_hard_exit(__u64 *ctx)
{
    end(HARD);
    return 0;
}

char LICENSE[] SEC("license") = "GPL";
