#include "shim.h"

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

uint16_t shim_rx_burst(uint16_t port, uint16_t queue, struct rte_mbuf **bufs, uint16_t n)
{
	return rte_eth_rx_burst(port, queue, bufs, n);
}

uint16_t shim_tx_burst(uint16_t port, uint16_t queue, struct rte_mbuf **bufs, uint16_t n)
{
	return rte_eth_tx_burst(port, queue, bufs, n);
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
