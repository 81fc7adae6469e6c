/* Inline crypto (rte_security): what a port can, sessions, and the words on packets. */
#ifndef PORTCULLIS_DPDK_SECURITY_H
#define PORTCULLIS_DPDK_SECURITY_H

#include <rte_ethdev.h>
#include <rte_flow.h>
#include <rte_mbuf.h>
#include <rte_security.h>

static const uint64_t SHIM_RX_OFFLOAD_SECURITY = RTE_ETH_RX_OFFLOAD_SECURITY;
static const uint64_t SHIM_TX_OFFLOAD_SECURITY = RTE_ETH_TX_OFFLOAD_SECURITY;
static const uint64_t SHIM_MBUF_RX_SECURITY = RTE_MBUF_F_RX_SEC_OFFLOAD;
static const uint64_t SHIM_MBUF_RX_SECURITY_FAILED = RTE_MBUF_F_RX_SEC_OFFLOAD_FAILED;
static const uint64_t SHIM_MBUF_TX_SECURITY = RTE_MBUF_F_TX_SEC_OFFLOAD;

/* An SA with AES-GCM, in the words of both sides. */
struct shim_sa {
	uint32_t spi;
	uint8_t salt[4];
	const uint8_t *key;
	uint16_t key_len;
	uint16_t icv_len;
	uint8_t esn;
	uint8_t egress;
	uint8_t tunnel;
	uint8_t v6;
	/* Outer addresses, or those of the ends in transport mode. */
	uint8_t source[16];
	uint8_t destination[16];
};

/* What a port lacks for an SA. */
enum {
	SHIM_LACKS_NOTHING,
	SHIM_LACKS_INLINE,
	SHIM_LACKS_ESN,
	SHIM_LACKS_CIPHER,
};

/* An SA in a port. */
struct shim_session {
	void *ctx;
	void *session;
	struct rte_flow *flow;
	uint32_t size;
	uint16_t port;
	/* The driver writes something of its own on each packet. */
	uint8_t metadata;
};

int shim_security_lacks(uint16_t port, const struct shim_sa *sa);
struct rte_mempool *shim_security_pool(const char *name, uint16_t port, unsigned int count);
int shim_security_create(uint16_t port, const struct shim_sa *sa, struct rte_mempool *pool, struct shim_session *made);
void shim_security_free(struct shim_session *session);
int shim_security_mark(const struct shim_session *session, struct rte_mbuf *buf);
int shim_security_leaves(struct rte_mbuf *buf, uint16_t port);
int shim_security_watch(uint16_t port, uint32_t *losses);

#endif
