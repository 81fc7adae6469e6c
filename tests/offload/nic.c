/*
 * A NIC with inline crypto, for tests: loaded before DPDK (LD_PRELOAD), it gives one port of any driver what such a NIC
 * adds, at DPDK's own interfaces: capability bits, a security context (struct rte_security_ops), flow rules with the
 * action SECURITY, and the cipher itself, AES-GCM of ipsec-mb, in callbacks of the port's bursts. Keys, salts, numbers
 * and flags are what the application told it through DPDK, and nothing else. The environment says how it behaves:
 *   NIC_PORT     device that has it, such as net_pcap1
 *   NIC_LOG      file: a line for each call, and a line "violation" for each rule that is broken
 *   NIC_ESN      it can do extended sequence numbers
 *   NIC_SESSIONS how many sessions it has place for
 *   NIC_FORGE    it spoils the ICV of each n-th packet that it receives
 *   NIC_RESET    it is reset after so many packets that it has sent
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <intel-ipsec-mb.h>
#include <rte_cryptodev.h>
#include <rte_errno.h>
#include <rte_ethdev.h>
#include <rte_ether.h>
#include <rte_flow.h>
#include <rte_ip.h>
#include <rte_mbuf_dyn.h>
#include <rte_security.h>
#include <rte_security_driver.h>

#define SECURITY_RX RTE_ETH_RX_OFFLOAD_SECURITY
#define SECURITY_TX RTE_ETH_TX_OFFLOAD_SECURITY
#define ICV 16
#define IV 8
#define ESP 8

#define REAL(function) ((__typeof__(&function))dlsym(RTLD_NEXT, #function))

/* An SA, in the session's private part; and in the table, by which packets name it. */
struct sa {
	int number;
	int egress, esn;
	uint32_t spi;
	uint8_t salt[4];
	uint8_t destination[16];
	int has_flow;
	/* High half of the sequence numbers, as RFC 4303 A2 finds it: the last one seen. */
	uint64_t last;
	struct gcm_key_data key;
	unsigned int key_len;
};

struct rte_flow {
	struct sa *sa;
};

#define MOST 64
static struct sa *sas[MOST];
static IMB_MGR *crypto;
static int metadata = -1;
static int started;
static uint64_t sent, opened, forged;
static rte_eth_dev_cb_fn on_reset;
static void *reset_argument;

static long setting(const char *name)
{
	const char *text = getenv(name);

	return text == NULL ? 0 : atol(text);
}

static void note(const char *format, ...)
{
	const char *path = getenv("NIC_LOG");
	FILE *file = path == NULL ? NULL : fopen(path, "a");
	va_list list;

	if (file == NULL)
		return;
	va_start(list, format);
	vfprintf(file, format, list);
	va_end(list);
	fputc('\n', file);
	fclose(file);
}

static int is_ours(uint16_t port)
{
	char name[RTE_ETH_NAME_MAX_LEN];
	const char *ours = getenv("NIC_PORT");

	return ours != NULL && rte_eth_dev_get_name_by_port(port, name) == 0 && strcmp(name, ours) == 0;
}

static const char *hex(char *text, const uint8_t *bytes, unsigned int len)
{
	for (unsigned int i = 0; i < len; i++)
		sprintf(text + 2 * i, "%02x", bytes[i]);
	return text;
}

/* ---- the driver's side of rte_security ---- */

static unsigned int session_size(void *device)
{
	(void)device;
	return sizeof(struct sa);
}

static void expand(struct sa *sa, const uint8_t *key)
{
	switch (sa->key_len) {
	case 16: IMB_AES128_GCM_PRE(crypto, key, &sa->key); break;
	case 24: IMB_AES192_GCM_PRE(crypto, key, &sa->key); break;
	default: IMB_AES256_GCM_PRE(crypto, key, &sa->key); break;
	}
}

static int create(void *device, struct rte_security_session_conf *conf, struct rte_security_session *session)
{
	const struct rte_crypto_aead_xform *aead = &conf->crypto_xform->aead;
	struct sa *sa = SECURITY_GET_SESS_PRIV(session);
	long most = getenv("NIC_SESSIONS") == NULL ? MOST : setting("NIC_SESSIONS");
	char key[2 * 32 + 1], salt[9];

	(void)device;
	memset(sa, 0, sizeof(*sa));
	sa->egress = conf->ipsec.direction == RTE_SECURITY_IPSEC_SA_DIR_EGRESS;
	sa->esn = conf->ipsec.options.esn;
	sa->spi = conf->ipsec.spi;
	memcpy(sa->salt, &conf->ipsec.salt, 4);
	sa->key_len = aead->key.length;
	if (conf->action_type != RTE_SECURITY_ACTION_TYPE_INLINE_CRYPTO ||
	    conf->protocol != RTE_SECURITY_PROTOCOL_IPSEC || conf->ipsec.proto != RTE_SECURITY_IPSEC_SA_PROTO_ESP ||
	    conf->crypto_xform->type != RTE_CRYPTO_SYM_XFORM_AEAD || aead->algo != RTE_CRYPTO_AEAD_AES_GCM ||
	    aead->op != (sa->egress ? RTE_CRYPTO_AEAD_OP_ENCRYPT : RTE_CRYPTO_AEAD_OP_DECRYPT) ||
	    aead->digest_length != ICV || aead->iv.length != 12 || aead->aad_length != (sa->esn ? 12 : 8)) {
		note("violation: a session that makes no sense");
		return -EINVAL;
	}
	while (sa->number < most && sas[sa->number] != NULL)
		sa->number++;
	if (sa->number == most) {
		note("full");
		return -ENOSPC;
	}
	sas[sa->number] = sa;
	expand(sa, aead->key.data);
	note("create %d %s %s spi %#x esn %d key %s salt %s", sa->number, sa->egress ? "egress" : "ingress",
	     conf->ipsec.mode == RTE_SECURITY_IPSEC_SA_MODE_TUNNEL ? "tunnel" : "transport", sa->spi, sa->esn,
	     hex(key, aead->key.data, sa->key_len), hex(salt, sa->salt, 4));
	return 0;
}

static int destroy(void *device, struct rte_security_session *session)
{
	struct sa *sa = SECURITY_GET_SESS_PRIV(session);

	(void)device;
	if (sa->has_flow)
		note("violation: session %d goes before its flow rule", sa->number);
	note("destroy %d spi %#x", sa->number, sa->spi);
	sas[sa->number] = NULL;
	return 0;
}

/* What the driver writes on a packet: the number of its session, plus one. */
static int set_metadata(void *device, struct rte_security_session *session, struct rte_mbuf *buf, void *params)
{
	struct sa *sa = SECURITY_GET_SESS_PRIV(session);

	(void)device;
	(void)params;
	*RTE_MBUF_DYNFIELD(buf, metadata, uint32_t *) = sa->number + 1;
	return 0;
}

#define CAPABILITY(way, what) \
	{ .action = RTE_SECURITY_ACTION_TYPE_INLINE_CRYPTO, .protocol = RTE_SECURITY_PROTOCOL_IPSEC, \
	  .ipsec = { .proto = RTE_SECURITY_IPSEC_SA_PROTO_ESP, .mode = RTE_SECURITY_IPSEC_SA_MODE_##what, \
		     .direction = RTE_SECURITY_IPSEC_SA_DIR_##way }, \
	  .crypto_capabilities = gcm, .ol_flags = RTE_SECURITY_TX_OLOAD_NEED_MDATA }

static const struct rte_security_capability *capabilities(void *device)
{
	static const struct rte_cryptodev_capabilities gcm[] = {
		{ .op = RTE_CRYPTO_OP_TYPE_SYMMETRIC,
		  .sym = { .xform_type = RTE_CRYPTO_SYM_XFORM_AEAD,
			   .aead = { .algo = RTE_CRYPTO_AEAD_AES_GCM, .block_size = 16,
				     .key_size = { 16, 32, 8 }, .digest_size = { ICV, ICV, 0 },
				     .aad_size = { 8, 12, 4 }, .iv_size = { 12, 12, 0 } } } },
		{ .op = RTE_CRYPTO_OP_TYPE_UNDEFINED },
	};
	static struct rte_security_capability all[] = {
		CAPABILITY(EGRESS, TUNNEL),
		CAPABILITY(INGRESS, TUNNEL),
		CAPABILITY(EGRESS, TRANSPORT),
		CAPABILITY(INGRESS, TRANSPORT),
		{ .action = RTE_SECURITY_ACTION_TYPE_NONE },
	};

	(void)device;
	for (unsigned int i = 0; i < 4; i++)
		all[i].ipsec.options.esn = getenv("NIC_ESN") != NULL;
	return all;
}

static const struct rte_security_ops ops = {
	.session_create = create,
	.session_get_size = session_size,
	.session_destroy = destroy,
	.set_pkt_metadata = set_metadata,
	.capabilities_get = capabilities,
};
static struct rte_security_ctx context = { .device = &context, .ops = &ops };

/* ---- the cipher ---- */

struct packet {
	uint8_t *ip, *esp;
	unsigned int len;
	uint32_t spi, sequence;
	uint8_t destination[16];
	int is_fragment;
};

/* The ESP packet of a frame; 0 if there is none. */
static int parse(struct rte_mbuf *buf, struct packet *packet)
{
	uint8_t *frame = rte_pktmbuf_mtod(buf, uint8_t *);
	unsigned int at = 14, header, total;

	memset(packet, 0, sizeof(*packet));
	if (buf->data_len < 14 + 40)
		return 0;
	if (frame[12] == 0x81 && frame[13] == 0)
		at += 4;
	packet->ip = frame + at;
	if (packet->ip[0] >> 4 == 4) {
		header = (packet->ip[0] & 15) * 4;
		total = packet->ip[2] << 8 | packet->ip[3];
		if (packet->ip[9] != 50)
			return 0;
		packet->is_fragment = (packet->ip[6] & 0x3f) != 0 || packet->ip[7] != 0;
		memcpy(packet->destination, packet->ip + 16, 4);
	} else {
		header = 40;
		total = 40 + (packet->ip[4] << 8 | packet->ip[5]);
		if (packet->ip[0] >> 4 != 6 || packet->ip[6] != 50)
			return 0;
		memcpy(packet->destination, packet->ip + 24, 16);
	}
	if (at + total > buf->data_len || total < header + ESP + IV + ICV)
		return 0;
	packet->esp = packet->ip + header;
	packet->len = total - header;
	memcpy(&packet->spi, packet->esp, 4);
	packet->spi = rte_be_to_cpu_32(packet->spi);
	memcpy(&packet->sequence, packet->esp + 4, 4);
	packet->sequence = rte_be_to_cpu_32(packet->sequence);
	return 1;
}

/* RFC 4303 A2.1, roughly: the number near the last one. */
static uint64_t whole_sequence(const struct sa *sa, uint32_t low)
{
	uint64_t guess = (sa->last & ~UINT64_C(0xffffffff)) | low;

	if (guess + 0x80000000 < sa->last)
		return guess + (UINT64_C(1) << 32);
	if (guess > sa->last + 0x80000000 && guess >> 32 != 0)
		return guess - (UINT64_C(1) << 32);
	return guess;
}

#define RUN(sa, way, ...) do { \
	switch ((sa)->key_len) { \
	case 16: IMB_AES128_GCM_##way(crypto, &(sa)->key, &gcm, __VA_ARGS__); break; \
	case 24: IMB_AES192_GCM_##way(crypto, &(sa)->key, &gcm, __VA_ARGS__); break; \
	default: IMB_AES256_GCM_##way(crypto, &(sa)->key, &gcm, __VA_ARGS__); break; \
	} } while (0)

/* RFC 4106: in place. 1 if the ICV is right, which is written when it is sealed. */
static int cipher(struct sa *sa, struct packet *packet, int seal)
{
	struct gcm_context_data gcm;
	uint64_t sequence = whole_sequence(sa, packet->sequence);
	uint32_t high = rte_cpu_to_be_32(sequence >> 32);
	uint8_t nonce[12], aad[12], icv[ICV];
	uint8_t *payload = packet->esp + ESP + IV;
	unsigned int len = packet->len - ESP - IV - ICV, aad_len = sa->esn ? 12 : 8;

	memcpy(nonce, sa->salt, 4);
	memcpy(nonce + 4, packet->esp + ESP, IV);
	memcpy(aad, packet->esp, 4);
	if (sa->esn)
		memcpy(aad + 4, &high, 4);
	memcpy(aad + (sa->esn ? 8 : 4), packet->esp + 4, 4);
	if (seal) {
		RUN(sa, ENC, payload, payload, len, nonce, aad, aad_len, payload + len, ICV);
	} else {
		RUN(sa, DEC, payload, payload, len, nonce, aad, aad_len, icv, ICV);
		if (memcmp(icv, payload + len, ICV) != 0)
			return 0;
	}
	if (sequence > sa->last)
		sa->last = sequence;
	return 1;
}

static uint16_t on_send(uint16_t port, uint16_t queue, struct rte_mbuf *bufs[], uint16_t count, void *unused)
{
	(void)port;
	(void)queue;
	(void)unused;
	for (uint16_t i = 0; i < count; i++) {
		struct rte_mbuf *buf = bufs[i];
		uint32_t number = *RTE_MBUF_DYNFIELD(buf, metadata, uint32_t *);
		struct sa *sa = number == 0 || number > MOST ? NULL : sas[number - 1];
		struct packet packet;
		unsigned int l3;

		if ((buf->ol_flags & RTE_MBUF_F_TX_SEC_OFFLOAD) == 0)
			continue;
		if (!parse(buf, &packet) || packet.is_fragment || sa == NULL || !sa->egress || sa->spi != packet.spi) {
			note("violation: a packet marked for no SA of ours");
			memset(rte_pktmbuf_mtod(buf, void *), 0, buf->data_len);
			continue;
		}
		l3 = packet.esp - packet.ip;
		if (buf->l2_len != packet.ip - rte_pktmbuf_mtod(buf, uint8_t *) || buf->l3_len != l3 ||
		    (buf->ol_flags & (packet.ip[0] >> 4 == 4 ? RTE_MBUF_F_TX_IPV4 : RTE_MBUF_F_TX_IPV6)) == 0)
			note("violation: headers are elsewhere");
		cipher(sa, &packet, 1);
		*RTE_MBUF_DYNFIELD(buf, metadata, uint32_t *) = 0;
		sent++;
		if (sent == (uint64_t)setting("NIC_RESET") && on_reset != NULL) {
			note("reset");
			on_reset(port, RTE_ETH_EVENT_INTR_RESET, reset_argument, NULL);
		}
	}
	return count;
}

static uint16_t on_receive(uint16_t port, uint16_t queue, struct rte_mbuf *bufs[], uint16_t count, uint16_t most, void *unused)
{
	(void)port;
	(void)queue;
	(void)most;
	(void)unused;
	for (uint16_t i = 0; i < count; i++) {
		struct packet packet;

		if (!parse(bufs[i], &packet) || packet.is_fragment)
			continue;
		for (int number = 0; number < MOST; number++) {
			struct sa *sa = sas[number];
			long forge = setting("NIC_FORGE");

			if (sa == NULL || sa->egress || !sa->has_flow || sa->spi != packet.spi ||
			    memcmp(sa->destination, packet.destination, 16) != 0)
				continue;
			if (forge != 0 && ++opened % forge == 0) {
				packet.esp[packet.len - 1] ^= 1;
				forged++;
			}
			bufs[i]->ol_flags |= RTE_MBUF_F_RX_SEC_OFFLOAD;
			if (!cipher(sa, &packet, 0))
				bufs[i]->ol_flags |= RTE_MBUF_F_RX_SEC_OFFLOAD_FAILED;
			break;
		}
	}
	return count;
}

/* ---- what the NIC adds to the port ---- */

void *rte_eth_dev_get_sec_ctx(uint16_t port)
{
	return is_ours(port) ? &context : REAL(rte_eth_dev_get_sec_ctx)(port);
}

int rte_eth_dev_info_get(uint16_t port, struct rte_eth_dev_info *info)
{
	int code = REAL(rte_eth_dev_info_get)(port, info);

	if (code == 0 && is_ours(port)) {
		info->rx_offload_capa |= SECURITY_RX;
		info->tx_offload_capa |= SECURITY_TX;
	}
	return code;
}

int rte_eth_dev_configure(uint16_t port, uint16_t rx, uint16_t tx, const struct rte_eth_conf *conf)
{
	struct rte_eth_conf rest = *conf;

	if (is_ours(port)) {
		note("configure rx %d tx %d", (rest.rxmode.offloads & SECURITY_RX) != 0,
		     (rest.txmode.offloads & SECURITY_TX) != 0);
		rest.rxmode.offloads &= ~SECURITY_RX;
		rest.txmode.offloads &= ~SECURITY_TX;
	}
	return REAL(rte_eth_dev_configure)(port, rx, tx, &rest);
}

int rte_eth_dev_start(uint16_t port)
{
	static const struct rte_mbuf_dynfield field = { .name = "test_nic_metadata", .size = 4, .align = 4 };
	struct rte_eth_dev_info info;
	int code = REAL(rte_eth_dev_start)(port);

	if (code != 0 || !is_ours(port) || rte_eth_dev_info_get(port, &info) != 0)
		return code;
	crypto = alloc_mb_mgr(0);
	init_mb_mgr_auto(crypto, NULL);
	metadata = rte_mbuf_dynfield_register(&field);
	for (uint16_t queue = 0; queue < info.nb_rx_queues; queue++)
		rte_eth_add_rx_callback(port, queue, on_receive, NULL);
	for (uint16_t queue = 0; queue < info.nb_tx_queues; queue++)
		rte_eth_add_tx_callback(port, queue, on_send, NULL);
	started = 1;
	return code;
}

int rte_eth_dev_close(uint16_t port)
{
	if (is_ours(port)) {
		for (int number = 0; number < MOST; number++)
			if (sas[number] != NULL)
				note("violation: session %d is left", number);
		note("close sent %llu forged %llu", (unsigned long long)sent, (unsigned long long)forged);
	}
	return REAL(rte_eth_dev_close)(port);
}

int rte_eth_dev_callback_register(uint16_t port, enum rte_eth_event_type event, rte_eth_dev_cb_fn function, void *argument)
{
	if (is_ours(port) && event == RTE_ETH_EVENT_INTR_RESET) {
		on_reset = function;
		reset_argument = argument;
	}
	return REAL(rte_eth_dev_callback_register)(port, event, function, argument);
}

struct rte_flow *rte_flow_create(uint16_t port, const struct rte_flow_attr *attr, const struct rte_flow_item pattern[],
				 const struct rte_flow_action actions[], struct rte_flow_error *error)
{
	const struct rte_flow_item_esp *esp = pattern[2].spec;
	struct rte_flow *flow;
	struct sa *sa;

	if (!is_ours(port))
		return REAL(rte_flow_create)(port, attr, pattern, actions, error);
	if (!started || !attr->ingress || actions[0].type != RTE_FLOW_ACTION_TYPE_SECURITY ||
	    actions[1].type != RTE_FLOW_ACTION_TYPE_END || pattern[0].type != RTE_FLOW_ITEM_TYPE_ETH ||
	    pattern[2].type != RTE_FLOW_ITEM_TYPE_ESP || pattern[3].type != RTE_FLOW_ITEM_TYPE_END) {
		note("violation: a flow rule that makes no sense");
		rte_errno = EINVAL;
		return NULL;
	}
	sa = SECURITY_GET_SESS_PRIV(actions[0].conf);
	if (pattern[1].type == RTE_FLOW_ITEM_TYPE_IPV4)
		memcpy(sa->destination, &((const struct rte_flow_item_ipv4 *)pattern[1].spec)->hdr.dst_addr, 4);
	else
		memcpy(sa->destination, &((const struct rte_flow_item_ipv6 *)pattern[1].spec)->hdr.dst_addr, 16);
	if (rte_be_to_cpu_32(esp->hdr.spi) != sa->spi)
		note("violation: the flow rule has another SPI than the session");
	sa->has_flow = 1;
	note("flow %d spi %#x", sa->number, sa->spi);
	flow = malloc(sizeof(*flow));
	flow->sa = sa;
	return flow;
}

int rte_flow_destroy(uint16_t port, struct rte_flow *flow, struct rte_flow_error *error)
{
	if (!is_ours(port))
		return REAL(rte_flow_destroy)(port, flow, error);
	flow->sa->has_flow = 0;
	free(flow);
	return 0;
}
