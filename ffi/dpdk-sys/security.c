#include "security.h"

#include <string.h>

#include <rte_cryptodev.h>
#include <rte_errno.h>
#include <rte_ether.h>
#include <rte_ip.h>

/* Length of nonces of AES-GCM (RFC 4106 4), and of its AAD without and with ESN (RFC 4106 5). */
#define NONCE 12
#define AAD(sa) ((sa)->esn ? 12 : 8)
/* More than a session's common part in every release; its size is the library's own matter. */
#define SESSION_HEADER (2 * RTE_CACHE_LINE_SIZE)

/* What a port says of inline crypto with SAs of this mode and direction; NULL: nothing. */
static const struct rte_security_capability *capability(uint16_t port, const struct shim_sa *sa)
{
	const struct rte_security_capability_idx wanted = {
		.action = RTE_SECURITY_ACTION_TYPE_INLINE_CRYPTO,
		.protocol = RTE_SECURITY_PROTOCOL_IPSEC,
		.ipsec = {
			.proto = RTE_SECURITY_IPSEC_SA_PROTO_ESP,
			.mode = sa->tunnel ? RTE_SECURITY_IPSEC_SA_MODE_TUNNEL : RTE_SECURITY_IPSEC_SA_MODE_TRANSPORT,
			.direction = sa->egress ? RTE_SECURITY_IPSEC_SA_DIR_EGRESS : RTE_SECURITY_IPSEC_SA_DIR_INGRESS,
		},
	};
	void *ctx = rte_eth_dev_get_sec_ctx(port);

	return ctx == NULL ? NULL : rte_security_capability_get(ctx, (struct rte_security_capability_idx *)(uintptr_t)&wanted);
}

static int fits(const struct rte_crypto_param_range *range, unsigned int size)
{
	if (range->increment == 0 || range->min == range->max)
		return size == range->min || size == range->max;
	return size >= range->min && size <= range->max && (size - range->min) % range->increment == 0;
}

static int has_gcm(const struct rte_cryptodev_capabilities *crypto, const struct shim_sa *sa)
{
	for (; crypto != NULL && crypto->op != RTE_CRYPTO_OP_TYPE_UNDEFINED; crypto++) {
		const struct rte_cryptodev_symmetric_capability *sym = &crypto->sym;

		if (crypto->op == RTE_CRYPTO_OP_TYPE_SYMMETRIC && sym->xform_type == RTE_CRYPTO_SYM_XFORM_AEAD &&
		    sym->aead.algo == RTE_CRYPTO_AEAD_AES_GCM && fits(&sym->aead.key_size, sa->key_len) &&
		    fits(&sym->aead.digest_size, sa->icv_len) && fits(&sym->aead.aad_size, AAD(sa)) &&
		    fits(&sym->aead.iv_size, NONCE))
			return 1;
	}
	return 0;
}

int shim_security_lacks(uint16_t port, const struct shim_sa *sa)
{
	const struct rte_security_capability *found = capability(port, sa);

	if (found == NULL)
		return SHIM_LACKS_INLINE;
	if (sa->esn && !found->ipsec.options.esn)
		return SHIM_LACKS_ESN;
	return has_gcm(found->crypto_capabilities, sa) ? SHIM_LACKS_NOTHING : SHIM_LACKS_CIPHER;
}

struct rte_mempool *shim_security_pool(const char *name, uint16_t port, unsigned int count)
{
	void *ctx = rte_eth_dev_get_sec_ctx(port);
	unsigned int size;

	if (ctx == NULL) {
		rte_errno = ENOTSUP;
		return NULL;
	}
	size = SESSION_HEADER + rte_security_session_get_size(ctx);
	return rte_mempool_create(name, count, size, 0, 0, NULL, NULL, NULL, NULL, SOCKET_ID_ANY, 0);
}

static void set_tunnel(struct rte_security_ipsec_tunnel_param *tunnel, const struct shim_sa *sa)
{
	if (sa->v6) {
		tunnel->type = RTE_SECURITY_IPSEC_TUNNEL_IPV6;
		memcpy(&tunnel->ipv6.src_addr, sa->source, 16);
		memcpy(&tunnel->ipv6.dst_addr, sa->destination, 16);
		tunnel->ipv6.hlimit = 64;
	} else {
		tunnel->type = RTE_SECURITY_IPSEC_TUNNEL_IPV4;
		memcpy(&tunnel->ipv4.src_ip, sa->source, 4);
		memcpy(&tunnel->ipv4.dst_ip, sa->destination, 4);
		tunnel->ipv4.ttl = 64;
	}
}

/* Inbound packets of the SA go to the session: those of its SPI between its addresses. */
static struct rte_flow *add_flow(uint16_t port, const struct shim_sa *sa, void *session)
{
	const struct rte_flow_attr attr = { .ingress = 1 };
	struct rte_flow_item_ipv4 v4 = {0}, v4_mask = {0};
	struct rte_flow_item_ipv6 v6 = {0}, v6_mask = {0};
	struct rte_flow_item_esp esp = {0}, esp_mask = {0};
	struct rte_flow_item pattern[4] = {{0}};
	const struct rte_flow_action actions[] = {
		{ .type = RTE_FLOW_ACTION_TYPE_SECURITY, .conf = session },
		{ .type = RTE_FLOW_ACTION_TYPE_END },
	};
	struct rte_flow_error error = {0};

	memcpy(&v4.hdr.src_addr, sa->source, 4);
	memcpy(&v4.hdr.dst_addr, sa->destination, 4);
	memset(&v4_mask.hdr.src_addr, 0xff, 4);
	memset(&v4_mask.hdr.dst_addr, 0xff, 4);
	memcpy(&v6.hdr.src_addr, sa->source, 16);
	memcpy(&v6.hdr.dst_addr, sa->destination, 16);
	memset(&v6_mask.hdr.src_addr, 0xff, 16);
	memset(&v6_mask.hdr.dst_addr, 0xff, 16);
	esp.hdr.spi = rte_cpu_to_be_32(sa->spi);
	esp_mask.hdr.spi = UINT32_MAX;
	pattern[0].type = RTE_FLOW_ITEM_TYPE_ETH;
	pattern[1].type = sa->v6 ? RTE_FLOW_ITEM_TYPE_IPV6 : RTE_FLOW_ITEM_TYPE_IPV4;
	pattern[1].spec = sa->v6 ? (void *)&v6 : (void *)&v4;
	pattern[1].mask = sa->v6 ? (void *)&v6_mask : (void *)&v4_mask;
	pattern[2].type = RTE_FLOW_ITEM_TYPE_ESP;
	pattern[2].spec = &esp;
	pattern[2].mask = &esp_mask;
	pattern[3].type = RTE_FLOW_ITEM_TYPE_END;
	return rte_flow_create(port, &attr, pattern, actions, &error);
}

/* 0, or a negative errno. */
int shim_security_create(uint16_t port, const struct shim_sa *sa, struct rte_mempool *pool, struct shim_session *made)
{
	const struct rte_security_capability *found = capability(port, sa);
	struct rte_crypto_sym_xform xform = {
		.type = RTE_CRYPTO_SYM_XFORM_AEAD,
		.aead = {
			.op = sa->egress ? RTE_CRYPTO_AEAD_OP_ENCRYPT : RTE_CRYPTO_AEAD_OP_DECRYPT,
			.algo = RTE_CRYPTO_AEAD_AES_GCM,
			.key = { .data = sa->key, .length = sa->key_len },
			.iv = { .length = NONCE },
			.digest_length = sa->icv_len,
			.aad_length = AAD(sa),
		},
	};
	struct rte_security_session_conf conf = {
		.action_type = RTE_SECURITY_ACTION_TYPE_INLINE_CRYPTO,
		.protocol = RTE_SECURITY_PROTOCOL_IPSEC,
		.ipsec = {
			.spi = sa->spi,
			.options = { .esn = sa->esn },
			.direction = sa->egress ? RTE_SECURITY_IPSEC_SA_DIR_EGRESS : RTE_SECURITY_IPSEC_SA_DIR_INGRESS,
			.proto = RTE_SECURITY_IPSEC_SA_PROTO_ESP,
			.mode = sa->tunnel ? RTE_SECURITY_IPSEC_SA_MODE_TUNNEL : RTE_SECURITY_IPSEC_SA_MODE_TRANSPORT,
		},
		.crypto_xform = &xform,
	};

	memset(made, 0, sizeof(*made));
	if (found == NULL)
		return -ENOTSUP;
	memcpy(&conf.ipsec.salt, sa->salt, sizeof(sa->salt));
	if (sa->tunnel)
		set_tunnel(&conf.ipsec.tunnel, sa);
	made->port = port;
	made->ctx = rte_eth_dev_get_sec_ctx(port);
	made->size = SESSION_HEADER + rte_security_session_get_size(made->ctx);
	made->metadata = (found->ol_flags & RTE_SECURITY_TX_OLOAD_NEED_MDATA) != 0;
	rte_errno = 0;
	made->session = rte_security_session_create(made->ctx, &conf, pool);
	if (made->session == NULL)
		return rte_errno > 0 ? -rte_errno : -EIO;
	if (!sa->egress) {
		made->flow = add_flow(port, sa, made->session);
		if (made->flow == NULL) {
			int code = rte_errno > 0 ? -rte_errno : -EIO;

			shim_security_free(made);
			return code;
		}
	}
	return 0;
}

/* The keys are wiped, too: nobody takes from the pool meanwhile. */
void shim_security_free(struct shim_session *session)
{
	struct rte_flow_error error = {0};

	if (session->flow != NULL)
		rte_flow_destroy(session->port, session->flow, &error);
	if (session->session != NULL && rte_security_session_destroy(session->ctx, session->session) == 0)
		explicit_bzero(session->session, session->size);
	session->flow = NULL;
	session->session = NULL;
}

/* Has the port's device cipher a packet. 0, or negative: then it must not go out so. */
int shim_security_mark(const struct shim_session *session, struct rte_mbuf *buf)
{
	if (session->metadata) {
		int code = rte_security_set_pkt_metadata(session->ctx, session->session, buf, NULL);

		if (code < 0)
			return code;
	}
	buf->port = session->port;
	buf->ol_flags |= RTE_MBUF_F_TX_SEC_OFFLOAD;
	return 0;
}

/*
 * 1 if a frame may leave by this port: it is finished, or the port's device is to cipher it and is told where its
 * headers are. 0 if another device was to do so.
 */
int shim_security_leaves(struct rte_mbuf *buf, uint16_t port)
{
	const uint8_t *frame = rte_pktmbuf_mtod(buf, const uint8_t *);
	unsigned int link = RTE_ETHER_HDR_LEN;
	uint8_t first;

	if ((buf->ol_flags & RTE_MBUF_F_TX_SEC_OFFLOAD) == 0)
		return 1;
	if (buf->port != port || buf->data_len < RTE_ETHER_HDR_LEN + RTE_VLAN_HLEN + sizeof(struct rte_ipv4_hdr))
		return 0;
	if (frame[12] == RTE_ETHER_TYPE_VLAN >> 8 && frame[13] == (RTE_ETHER_TYPE_VLAN & 0xff))
		link += RTE_VLAN_HLEN;
	first = frame[link];
	buf->l2_len = link;
	buf->l3_len = first >> 4 == 4 ? (first & 15) * 4 : sizeof(struct rte_ipv6_hdr);
	buf->ol_flags |= first >> 4 == 4 ? RTE_MBUF_F_TX_IPV4 : RTE_MBUF_F_TX_IPV6;
	return 1;
}

/* The device was reset or is gone, and with it all sessions. Runs on a thread of DPDK's. */
static int note_loss(uint16_t port, enum rte_eth_event_type event, void *losses, void *unused)
{
	(void)port;
	(void)event;
	(void)unused;
	__atomic_add_fetch((uint32_t *)losses, 1, __ATOMIC_RELEASE);
	return 0;
}

/* Counts resets and removals of the device from now on; for good, so losses is never freed. */
int shim_security_watch(uint16_t port, uint32_t *losses)
{
	int code = rte_eth_dev_callback_register(port, RTE_ETH_EVENT_INTR_RESET, note_loss, losses);

	if (code < 0)
		return code;
	return rte_eth_dev_callback_register(port, RTE_ETH_EVENT_INTR_RMV, note_loss, losses);
}
