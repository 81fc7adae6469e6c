/* What Rust cannot take from DPDK's headers by itself: static inline functions and macros. */
#ifndef PORTCULLIS_DPDK_SHIM_H
#define PORTCULLIS_DPDK_SHIM_H

#include <stddef.h>
#include <stdint.h>

#include <rte_cycles.h>
#include <rte_dev.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_ethdev.h>
#include <rte_lcore.h>
#include <rte_mbuf.h>
#include <rte_mempool.h>

#include "crypto.h"
#include "security.h"

/* The mbuf fields that Rust reads and writes itself. Offsets and widths come from the compiler,
 * because releases of DPDK name the unions around them differently. */
enum {
	SHIM_MBUF_BUF_ADDR = offsetof(struct rte_mbuf, buf_addr),
	SHIM_MBUF_DATA_OFF = offsetof(struct rte_mbuf, data_off),
	SHIM_MBUF_REFCNT = offsetof(struct rte_mbuf, refcnt),
	SHIM_MBUF_NB_SEGS = offsetof(struct rte_mbuf, nb_segs),
	SHIM_MBUF_OL_FLAGS = offsetof(struct rte_mbuf, ol_flags),
	SHIM_MBUF_PKT_LEN = offsetof(struct rte_mbuf, pkt_len),
	SHIM_MBUF_DATA_LEN = offsetof(struct rte_mbuf, data_len),
	SHIM_MBUF_BUF_LEN = offsetof(struct rte_mbuf, buf_len),
};

#define SHIM_WIDTH(field, type) \
	_Static_assert(sizeof(((struct rte_mbuf *)0)->field) == sizeof(type), "width of rte_mbuf." #field)
SHIM_WIDTH(buf_addr, void *);
SHIM_WIDTH(data_off, uint16_t);
SHIM_WIDTH(refcnt, uint16_t);
SHIM_WIDTH(nb_segs, uint16_t);
SHIM_WIDTH(ol_flags, uint64_t);
SHIM_WIDTH(pkt_len, uint32_t);
SHIM_WIDTH(data_len, uint16_t);
SHIM_WIDTH(buf_len, uint16_t);

/* Macros that are expressions, as constants that bindgen can evaluate. */
static const uint64_t SHIM_MBUF_NOT_DIRECT = RTE_MBUF_F_INDIRECT | RTE_MBUF_F_EXTERNAL;
static const uint64_t SHIM_RX_OFFLOAD_SCATTER = RTE_ETH_RX_OFFLOAD_SCATTER;
static const uint64_t SHIM_RSS_HASH = RTE_ETH_RSS_IP | RTE_ETH_RSS_UDP | RTE_ETH_RSS_TCP | RTE_ETH_RSS_ESP | RTE_ETH_RSS_AH;
static const uint32_t SHIM_MQ_RX_RSS = RTE_ETH_MQ_RX_RSS;
static const uint16_t SHIM_MBUF_HEADROOM = RTE_PKTMBUF_HEADROOM;
static const uint32_t SHIM_ETHER_OVERHEAD = RTE_ETHER_HDR_LEN + RTE_ETHER_CRC_LEN;

int shim_errno(void);
int shim_is_lcore(void);
uint64_t shim_cycles(void);
uint64_t shim_thread_cpu_ns(void);
uint16_t shim_rx_burst(uint16_t port, uint16_t queue, struct rte_mbuf **bufs, uint16_t n);
uint16_t shim_tx_burst(uint16_t port, uint16_t queue, struct rte_mbuf **bufs, uint16_t n);
struct rte_mempool *shim_mbuf_pool(const char *name, unsigned int count, unsigned int cache, uint16_t room);
struct rte_mbuf *shim_mbuf_alloc(struct rte_mempool *pool);
int shim_mbuf_alloc_bulk(struct rte_mempool *pool, struct rte_mbuf **bufs, unsigned int n);
void shim_mbuf_free(struct rte_mbuf *buf);
int shim_link_up(uint16_t port);

#endif
