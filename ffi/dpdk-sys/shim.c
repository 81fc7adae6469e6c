#include "shim.h"

#include <time.h>

int shim_errno(void)
{
	return rte_errno;
}

/* 1 if this thread is an lcore, which a registered thread is too. */
int shim_is_lcore(void)
{
	return rte_lcore_id() != LCORE_ID_ANY;
}

uint64_t shim_cycles(void)
{
	return rte_rdtsc();
}

uint64_t shim_thread_cpu_ns(void)
{
	struct timespec spent = {0};

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &spent);
	return (uint64_t)spent.tv_sec * 1000000000 + (uint64_t)spent.tv_nsec;
}

uint16_t shim_rx_burst(uint16_t port, uint16_t queue, struct rte_mbuf **bufs, uint16_t n)
{
	return rte_eth_rx_burst(port, queue, bufs, n);
}

uint16_t shim_tx_burst(uint16_t port, uint16_t queue, struct rte_mbuf **bufs, uint16_t n)
{
	return rte_eth_tx_burst(port, queue, bufs, n);
}

static void free_zone(struct rte_mempool_memhdr *chunk, void *zone)
{
	(void)chunk;
	rte_memzone_free(zone);
}

/* All buffers of a pool in one zone, whose device addresses are its virtual ones. 0 or negative errno. */
static int populate_packed(struct rte_mempool *pool, const char *name)
{
	const struct rte_memzone *zone;
	size_t chunk, align;
	ssize_t len = rte_mempool_op_calc_mem_size_default(pool, pool->size, 0, &chunk, &align);
	int done;

	if (len < 0)
		return len;
	zone = rte_memzone_reserve_aligned(name, len, SOCKET_ID_ANY, 0, align);
	if (zone == NULL)
		return -rte_errno;
	done = rte_mempool_populate_iova(pool, zone->addr, (rte_iova_t)(uintptr_t)zone->addr, zone->len, free_zone,
					 (void *)(uintptr_t)zone);
	if (done < 0) {
		rte_memzone_free(zone);
		return done;
	}
	return (unsigned int)done == pool->size ? 0 : -ENOMEM;
}

/*
 * Without huge pages DPDK keeps each buffer within a page of 4 KiB, lest its physical addresses have a gap: one buffer
 * a page then, and the heads of all in the same few sets of the CPU's cache. Where devices see virtual addresses there
 * is no gap, and the flag says that DPDK need not look for one.
 */
static struct rte_mempool *packed_pool(const char *name, unsigned int count, unsigned int cache, uint16_t room)
{
	struct rte_pktmbuf_pool_private priv = { .mbuf_data_room_size = room };
	struct rte_mempool *pool = rte_mempool_create_empty(name, count, sizeof(struct rte_mbuf) + room, cache,
							    sizeof(priv), SOCKET_ID_ANY, RTE_MEMPOOL_F_NO_IOVA_CONTIG);
	int rc;

	if (pool == NULL)
		return NULL;
	rte_pktmbuf_pool_init(pool, &priv);
	rc = populate_packed(pool, name);
	if (rc < 0) {
		rte_mempool_free(pool);
		rte_errno = -rc;
		return NULL;
	}
	rte_mempool_obj_iter(pool, rte_pktmbuf_init, NULL);
	return pool;
}

struct rte_mempool *shim_mbuf_pool(const char *name, unsigned int count, unsigned int cache, uint16_t room)
{
	if (rte_eal_has_hugepages() || rte_eal_iova_mode() != RTE_IOVA_VA)
		return rte_pktmbuf_pool_create(name, count, cache, 0, room, SOCKET_ID_ANY);
	return packed_pool(name, count, cache, room);
}

struct rte_mbuf *shim_mbuf_alloc(struct rte_mempool *pool)
{
	return rte_pktmbuf_alloc(pool);
}

int shim_mbuf_alloc_bulk(struct rte_mempool *pool, struct rte_mbuf **bufs, unsigned int n)
{
	return rte_pktmbuf_alloc_bulk(pool, bufs, n);
}

void shim_mbuf_free(struct rte_mbuf *buf)
{
	rte_pktmbuf_free(buf);
}

/* 1 up, 0 down, negative errno. */
int shim_link_up(uint16_t port)
{
	struct rte_eth_link link;
	int rc = rte_eth_link_get_nowait(port, &link);

	if (rc < 0)
		return rc;
	return link.link_status == RTE_ETH_LINK_UP;
}
