/* Symmetric crypto devices: sessions from flat descriptions, and bursts of operations, whose layout Rust need not
 * know. */
#ifndef PORTCULLIS_DPDK_CRYPTO_H
#define PORTCULLIS_DPDK_CRYPTO_H

#include <stdint.h>

#include <rte_crypto_sym.h>
#include <rte_mbuf.h>
#include <rte_mempool.h>

enum {
	SHIM_CRYPTO_IV_MAX = 16,
	/* 18 bytes that CCM reserves in front, and the associated data. */
	SHIM_CRYPTO_AAD_MAX = 32,
	SHIM_CRYPTO_DIGEST_MAX = 64,
	SHIM_CRYPTO_BURST = 32,
};

/* What a session does. */
enum {
	SHIM_CRYPTO_DO_AEAD,
	SHIM_CRYPTO_DO_CIPHER,
	SHIM_CRYPTO_DO_AUTH,
	SHIM_CRYPTO_DO_BOTH,
};

/* DPDK's numbers, which differ between releases. */
enum {
	SHIM_CRYPTO_AEAD_GCM = RTE_CRYPTO_AEAD_AES_GCM,
	SHIM_CRYPTO_AEAD_CCM = RTE_CRYPTO_AEAD_AES_CCM,
	SHIM_CRYPTO_AEAD_CHACHA = RTE_CRYPTO_AEAD_CHACHA20_POLY1305,
	SHIM_CRYPTO_CIPHER_NULL = RTE_CRYPTO_CIPHER_NULL,
	SHIM_CRYPTO_CIPHER_CBC = RTE_CRYPTO_CIPHER_AES_CBC,
	SHIM_CRYPTO_CIPHER_CTR = RTE_CRYPTO_CIPHER_AES_CTR,
	SHIM_CRYPTO_CIPHER_3DES = RTE_CRYPTO_CIPHER_3DES_CBC,
	SHIM_CRYPTO_AUTH_SHA1 = RTE_CRYPTO_AUTH_SHA1_HMAC,
	SHIM_CRYPTO_AUTH_SHA256 = RTE_CRYPTO_AUTH_SHA256_HMAC,
	SHIM_CRYPTO_AUTH_SHA384 = RTE_CRYPTO_AUTH_SHA384_HMAC,
	SHIM_CRYPTO_AUTH_SHA512 = RTE_CRYPTO_AUTH_SHA512_HMAC,
	SHIM_CRYPTO_AUTH_XCBC = RTE_CRYPTO_AUTH_AES_XCBC_MAC,
	SHIM_CRYPTO_AUTH_CMAC = RTE_CRYPTO_AUTH_AES_CMAC,
};

struct shim_crypto_transform {
	uint8_t kind;
	uint8_t encrypt;
	uint16_t iv_len;
	uint16_t aad_len;
	uint16_t digest_len;
	/* Of the cipher, or of the AEAD. */
	uint32_t cipher;
	uint32_t auth;
	const uint8_t *cipher_key;
	const uint8_t *auth_key;
	uint16_t cipher_key_len;
	uint16_t auth_key_len;
};

struct shim_crypto_job {
	struct rte_mbuf *buf;
	void *session;
	/* Comes back in shim_crypto_done. */
	uint32_t cookie;
	uint32_t cipher_at;
	uint32_t cipher_len;
	uint32_t auth_at;
	uint32_t auth_len;
	uint32_t digest_at;
	uint8_t kind;
	uint8_t encrypt;
	uint8_t digest_len;
	/* Four bytes, not in the packet, are authenticated behind it. */
	uint8_t has_tail;
	uint8_t tail[4];
	uint8_t iv[SHIM_CRYPTO_IV_MAX];
	uint8_t aad[SHIM_CRYPTO_AAD_MAX];
};

struct shim_crypto_done {
	uint32_t cookie;
	uint32_t ok;
};

int shim_crypto_id(const char *name);
/* Name of the device with this number, NULL if there is none. */
const char *shim_crypto_name(uint8_t device);
const char *shim_crypto_driver(uint8_t device);
uint32_t shim_crypto_max_queues(uint8_t device);
int shim_crypto_supports(uint8_t device, const struct shim_crypto_transform *transform);
int shim_crypto_start(uint8_t device, uint16_t queues, uint32_t descriptors, struct rte_mempool *sessions);
void shim_crypto_close(uint8_t device);
struct rte_mempool *shim_crypto_session_pool(const char *name, uint8_t device, uint32_t count);
struct rte_mempool *shim_crypto_op_pool(const char *name, uint32_t count);
void *shim_crypto_session_create(uint8_t device, const struct shim_crypto_transform *transform,
	struct rte_mempool *pool);
int shim_crypto_session_free(uint8_t device, void *session, struct rte_mempool *pool);
uint16_t shim_crypto_enqueue(uint8_t device, uint16_t queue, struct rte_mempool *pool,
	const struct shim_crypto_job *jobs, uint16_t n);
uint16_t shim_crypto_dequeue(uint8_t device, uint16_t queue, struct shim_crypto_done *done, uint16_t n);

#endif
