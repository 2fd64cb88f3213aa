// TCP: how long connecting took, how long connections lived, what was sent again, and who talks to whom.

#include "common.h"

#define AF_INET 2
#define AF_INET6 10

// include/net/tcp_states.h
#define ESTABLISHED 1
#define SYN_SENT 2
#define CLOSED 7

struct in6_addr {
    union {
        __u32 u6_addr32[4];
    } in6_u;
} __attribute__((preserve_access_index));

struct ns_common {
    unsigned int inum;
} __attribute__((preserve_access_index));

struct net {
    struct ns_common ns;
} __attribute__((preserve_access_index));

typedef struct {
    struct net *net;
} __attribute__((preserve_access_index)) possible_net_t;

struct sock_common {
    unsigned short skc_family;
    __u32 skc_daddr;
    __u32 skc_rcv_saddr;
    __be16 skc_dport;
    __u16 skc_num;
    struct in6_addr skc_v6_daddr;
    struct in6_addr skc_v6_rcv_saddr;
    possible_net_t skc_net;
} __attribute__((preserve_access_index));

struct sock {
    struct sock_common __sk_common;
    __u16 sk_protocol;
} __attribute__((preserve_access_index));

#define IPPROTO_TCP 6

// Connections that are followed at once; the least used is forgotten, which costs one lifetime.
#define CONNECTIONS_MAX 8192

// Edges that are kept; the least used is forgotten. 4096 of 88 bytes.
#define EDGES_MAX 4096

#define COMM_LEN 16

struct connection {
    __u64 since;
    char comm[COMM_LEN];
    __u32 outward;
    __u32 open;
};

// Addresses are IPv6 in network order; those of IPv4 are mapped (::ffff:a.b.c.d). The port is the server's, in host
// order. `outward` is 1 on the side that connected.
struct edge {
    __u32 from[4];
    __u32 to[4];
    __u16 port;
    __u16 outward;
    char comm[COMM_LEN];
};

struct traffic {
    __u64 opened;
    __u64 last_ns;
};

// Indexes of `counts`. ebpf/src/tcp.rs says the same.
enum {
    RETRANSMITS,
    // Of our own network namespace alone, as /proc/net/tcp is.
    OPENED_HERE,
    CLOSED_HERE,
    OPENED_ALL,
    CONNECT_FAILED,
    COUNTS,
};

// The inode number of the collector's network namespace; set when the program is loaded.
volatile const __u32 own_namespace = 0;

struct {
    __uint(type, BPF_MAP_TYPE_LRU_HASH);
    __uint(max_entries, CONNECTIONS_MAX);
    __type(key, __u64);
    __type(value, struct connection);
} connections SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_LRU_HASH);
    __uint(max_entries, EDGES_MAX);
    __type(key, struct edge);
    __type(value, struct traffic);
} edges SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
    __uint(max_entries, 1);
    __type(key, __u32);
    __type(value, struct histogram);
} connect_latency SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
    __uint(max_entries, 1);
    __type(key, __u32);
    __type(value, struct histogram);
} lifetime SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
    __uint(max_entries, COUNTS);
    __type(key, __u32);
    __type(value, __u64);
} counts SEC(".maps");

static ALWAYS_INLINE void count(__u32 index)
{
    __u64 *value = bpf_map_lookup_elem(&counts, &index);

    if (value)
        *value += 1;
}

static ALWAYS_INLINE void measure(void *map, __u64 ns)
{
    __u32 zero = 0;
    struct histogram *histogram = bpf_map_lookup_elem(map, &zero);

    if (histogram)
        observe(histogram, ns);
}

static ALWAYS_INLINE void mapped(__u32 *address, __u32 four)
{
    address[2] = 0xffff0000; // 00 00 ff ff in network order
    address[3] = four;
}

static ALWAYS_INLINE void add_edge(struct sock *sk, struct connection *connection, __u64 now)
{
    struct traffic first = {.opened = 1, .last_ns = now}, *traffic;
    struct edge edge = {};

    if (sk->__sk_common.skc_family == AF_INET) {
        mapped(edge.from, sk->__sk_common.skc_rcv_saddr);
        mapped(edge.to, sk->__sk_common.skc_daddr);
    } else {
        edge.from[0] = sk->__sk_common.skc_v6_rcv_saddr.in6_u.u6_addr32[0];
        edge.from[1] = sk->__sk_common.skc_v6_rcv_saddr.in6_u.u6_addr32[1];
        edge.from[2] = sk->__sk_common.skc_v6_rcv_saddr.in6_u.u6_addr32[2];
        edge.from[3] = sk->__sk_common.skc_v6_rcv_saddr.in6_u.u6_addr32[3];
        edge.to[0] = sk->__sk_common.skc_v6_daddr.in6_u.u6_addr32[0];
        edge.to[1] = sk->__sk_common.skc_v6_daddr.in6_u.u6_addr32[1];
        edge.to[2] = sk->__sk_common.skc_v6_daddr.in6_u.u6_addr32[2];
        edge.to[3] = sk->__sk_common.skc_v6_daddr.in6_u.u6_addr32[3];
    }
    edge.outward = connection->outward;
    edge.port = connection->outward ? __builtin_bswap16(sk->__sk_common.skc_dport) : sk->__sk_common.skc_num;
    __builtin_memcpy(edge.comm, connection->comm, COMM_LEN);
    traffic = bpf_map_lookup_elem(&edges, &edge);
    if (traffic) {
        __sync_fetch_and_add(&traffic->opened, 1);
        traffic->last_ns = now;
    } else {
        bpf_map_update_elem(&edges, &edge, &first, BPF_ANY);
    }
}

static ALWAYS_INLINE int is_here(struct sock *sk)
{
    return sk->__sk_common.skc_net.net->ns.inum == own_namespace;
}

// TP_PROTO(const struct sock *sk, const int oldstate, const int newstate)
SEC("tp_btf/inet_sock_set_state")
int on_state(__u64 *ctx)
{
    struct sock *sk = (void *)ctx[0];
    int before = ctx[1], after = ctx[2];
    __u64 key = ctx[0], now = bpf_ktime_get_ns();
    struct connection begun = {.since = now}, *found;
    unsigned short family = sk->__sk_common.skc_family;

    if (sk->sk_protocol != IPPROTO_TCP || (family != AF_INET && family != AF_INET6))
        return 0;
    if (after == SYN_SENT) {
        // Called from connect(2): the current task is the one that connects.
        bpf_get_current_comm(begun.comm, COMM_LEN);
        begun.outward = 1;
        bpf_map_update_elem(&connections, &key, &begun, BPF_ANY);
        return 0;
    }
    if (after == ESTABLISHED) {
        found = bpf_map_lookup_elem(&connections, &key);
        if (before == SYN_SENT && found) {
            measure(&connect_latency, now - found->since);
            __builtin_memcpy(begun.comm, found->comm, COMM_LEN);
            begun.outward = 1;
        }
        begun.open = 1;
        bpf_map_update_elem(&connections, &key, &begun, BPF_ANY);
        add_edge(sk, &begun, now);
        count(OPENED_ALL);
        if (is_here(sk))
            count(OPENED_HERE);
        return 0;
    }
    if (before == ESTABLISHED && is_here(sk))
        count(CLOSED_HERE);
    if (after == CLOSED) {
        found = bpf_map_lookup_elem(&connections, &key);
        if (!found)
            return 0;
        if (found->open)
            measure(&lifetime, now - found->since);
        else
            count(CONNECT_FAILED);
        bpf_map_delete_elem(&connections, &key);
    }
    return 0;
}

// TP_PROTO(const struct sock *sk, const struct sk_buff *skb, …)
SEC("tp_btf/tcp_retransmit_skb")
int on_retransmit(__u64 *ctx)
{
    count(RETRANSMITS);
    return 0;
}

char LICENSE[] SEC("license") = "GPL";
