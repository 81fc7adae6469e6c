/* The session pool's maker has kept this mark through all releases that we build with. */
#define ALLOW_EXPERIMENTAL_API
#include "crypto.h"

#include <string.h>

#include <rte_cryptodev.h>
#include <rte_errno.h>

/* What lies behind each operation. */
struct extra {
	uint32_t cookie;
	/* Where the digest goes when the device is done; nowhere if the length is 0. */
	uint32_t digest_at;
	uint32_t digest_len;
	uint32_t unused;
	uint8_t iv[SHIM_CRYPTO_IV_MAX];
	uint8_t aad[SHIM_CRYPTO_AAD_MAX];
	uint8_t digest[SHIM_CRYPTO_DIGEST_MAX];
};

enum { EXTRA_AT = sizeof(struct rte_crypto_op) + sizeof(struct rte_crypto_sym_op) };

static struct extra *extra(struct rte_crypto_op *op)
{
	return rte_crypto_op_ctod_offset(op, struct extra *, EXTRA_AT);
}

static rte_iova_t op_iova(struct rte_crypto_op *op, size_t field)
{
	return rte_crypto_op_ctophys_offset(op, EXTRA_AT + field);
}

int shim_crypto_id(const char *name)
{
	return rte_cryptodev_get_dev_id(name);
}

const char *shim_crypto_name(uint8_t device)
{
	return rte_cryptodev_is_valid_dev(device) ? rte_cryptodev_name_get(device) : NULL;
}

const char *shim_crypto_driver(uint8_t device)
{
	struct rte_cryptodev_info info;

	rte_cryptodev_info_get(device, &info);
	return info.driver_name;
}

uint32_t shim_crypto_max_queues(uint8_t device)
{
	struct rte_cryptodev_info info;

	rte_cryptodev_info_get(device, &info);
	return info.max_nb_queue_pairs;
}

static const struct rte_cryptodev_symmetric_capability *capability(uint8_t device, enum rte_crypto_sym_xform_type type,
	uint32_t algorithm)
{
	struct rte_cryptodev_sym_capability_idx index = { .type = type };

	if (type == RTE_CRYPTO_SYM_XFORM_AEAD)
		index.algo.aead = (enum rte_crypto_aead_algorithm)algorithm;
	else if (type == RTE_CRYPTO_SYM_XFORM_CIPHER)
		index.algo.cipher = (enum rte_crypto_cipher_algorithm)algorithm;
	else
		index.algo.auth = (enum rte_crypto_auth_algorithm)algorithm;
	return rte_cryptodev_sym_capability_get(device, &index);
}

/* 1 if the device can do all of it, sizes included. */
int shim_crypto_supports(uint8_t device, const struct shim_crypto_transform *t)
{
	const struct rte_cryptodev_symmetric_capability *found;
	struct rte_cryptodev_info info;

	rte_cryptodev_info_get(device, &info);
	if (!(info.feature_flags & RTE_CRYPTODEV_FF_SYMMETRIC_CRYPTO))
		return 0;
	if (t->kind == SHIM_CRYPTO_DO_AEAD) {
		found = capability(device, RTE_CRYPTO_SYM_XFORM_AEAD, t->cipher);
		return found && rte_cryptodev_sym_capability_check_aead(found, t->cipher_key_len, t->digest_len,
			t->aad_len, t->iv_len) == 0;
	}
	if (t->kind == SHIM_CRYPTO_DO_BOTH && !(info.feature_flags & RTE_CRYPTODEV_FF_SYM_OPERATION_CHAINING))
		return 0;
	if (t->kind != SHIM_CRYPTO_DO_AUTH) {
		found = capability(device, RTE_CRYPTO_SYM_XFORM_CIPHER, t->cipher);
		if (!found || rte_cryptodev_sym_capability_check_cipher(found, t->cipher_key_len, t->iv_len) != 0)
			return 0;
	}
	if (t->kind != SHIM_CRYPTO_DO_CIPHER) {
		found = capability(device, RTE_CRYPTO_SYM_XFORM_AUTH, t->auth);
		if (!found || rte_cryptodev_sym_capability_check_auth(found, t->auth_key_len, t->digest_len, 0) != 0)
			return 0;
	}
	return 1;
}

int shim_crypto_start(uint8_t device, uint16_t queues, uint32_t descriptors, struct rte_mempool *sessions)
{
	int socket = rte_cryptodev_socket_id(device);
	struct rte_cryptodev_config config = {
		.socket_id = socket,
		.nb_queue_pairs = queues,
		.ff_disable = RTE_CRYPTODEV_FF_ASYMMETRIC_CRYPTO | RTE_CRYPTODEV_FF_SECURITY,
	};
	struct rte_cryptodev_qp_conf pair = { .nb_descriptors = descriptors, .mp_session = sessions };
	int rc = rte_cryptodev_configure(device, &config);

	for (uint16_t queue = 0; rc == 0 && queue < queues; queue++)
		rc = rte_cryptodev_queue_pair_setup(device, queue, &pair, socket);
	return rc == 0 ? rte_cryptodev_start(device) : rc;
}

void shim_crypto_close(uint8_t device)
{
	rte_cryptodev_stop(device);
	rte_cryptodev_close(device);
}

struct rte_mempool *shim_crypto_session_pool(const char *name, uint8_t device, uint32_t count)
{
	return rte_cryptodev_sym_session_pool_create(name, count, rte_cryptodev_sym_get_private_session_size(device), 0,
		0, SOCKET_ID_ANY);
}

struct rte_mempool *shim_crypto_op_pool(const char *name, uint32_t count)
{
	return rte_crypto_op_pool_create(name, RTE_CRYPTO_OP_TYPE_SYMMETRIC, count, 0, sizeof(struct extra),
		SOCKET_ID_ANY);
}

static void fill_aead(struct rte_crypto_sym_xform *x, const struct shim_crypto_transform *t)
{
	x->type = RTE_CRYPTO_SYM_XFORM_AEAD;
	x->aead.op = t->encrypt ? RTE_CRYPTO_AEAD_OP_ENCRYPT : RTE_CRYPTO_AEAD_OP_DECRYPT;
	x->aead.algo = (enum rte_crypto_aead_algorithm)t->cipher;
	x->aead.key.data = t->cipher_key;
	x->aead.key.length = t->cipher_key_len;
	x->aead.iv.offset = EXTRA_AT + offsetof(struct extra, iv);
	x->aead.iv.length = t->iv_len;
	x->aead.digest_length = t->digest_len;
	x->aead.aad_length = t->aad_len;
}

static void fill_cipher(struct rte_crypto_sym_xform *x, const struct shim_crypto_transform *t)
{
	x->type = RTE_CRYPTO_SYM_XFORM_CIPHER;
	x->cipher.op = t->encrypt ? RTE_CRYPTO_CIPHER_OP_ENCRYPT : RTE_CRYPTO_CIPHER_OP_DECRYPT;
	x->cipher.algo = (enum rte_crypto_cipher_algorithm)t->cipher;
	x->cipher.key.data = t->cipher_key;
	x->cipher.key.length = t->cipher_key_len;
	x->cipher.iv.offset = EXTRA_AT + offsetof(struct extra, iv);
	x->cipher.iv.length = t->iv_len;
}

static void fill_auth(struct rte_crypto_sym_xform *x, const struct shim_crypto_transform *t)
{
	x->type = RTE_CRYPTO_SYM_XFORM_AUTH;
	x->auth.op = t->encrypt ? RTE_CRYPTO_AUTH_OP_GENERATE : RTE_CRYPTO_AUTH_OP_VERIFY;
	x->auth.algo = (enum rte_crypto_auth_algorithm)t->auth;
	x->auth.key.data = t->auth_key;
	x->auth.key.length = t->auth_key_len;
	x->auth.digest_length = t->digest_len;
}

void *shim_crypto_session_create(uint8_t device, const struct shim_crypto_transform *t, struct rte_mempool *pool)
{
	struct rte_crypto_sym_xform x[2];

	memset(x, 0, sizeof(x));
	switch (t->kind) {
	case SHIM_CRYPTO_DO_AEAD:
		fill_aead(&x[0], t);
		break;
	case SHIM_CRYPTO_DO_CIPHER:
		fill_cipher(&x[0], t);
		break;
	case SHIM_CRYPTO_DO_AUTH:
		fill_auth(&x[0], t);
		break;
	default:
		/* RFC 4303 3.3.2: encrypt, then authenticate; 3.4.4: the other way round. */
		fill_cipher(&x[t->encrypt ? 0 : 1], t);
		fill_auth(&x[t->encrypt ? 1 : 0], t);
		x[0].next = &x[1];
	}
	return rte_cryptodev_sym_session_create(device, x, pool);
}

/* Drivers leave the keys behind in the pool. Nobody else may take from it meanwhile. */
int shim_crypto_session_free(uint8_t device, void *session, struct rte_mempool *pool)
{
	int rc = rte_cryptodev_sym_session_free(device, session);

	if (rc == 0) {
		memset(session, 0, pool->elt_size);
		/* Nothing reads it again before it is written: the compiler must not know that. */
		__asm__ volatile("" : : "r"(session) : "memory");
	}
	return rc;
}

static void place_digest(struct rte_crypto_op *op, const struct shim_crypto_job *job, uint8_t **data, rte_iova_t *iova)
{
	struct extra *x = extra(op);
	uint8_t *icv = rte_pktmbuf_mtod_offset(job->buf, uint8_t *, job->digest_at);

	x->digest_len = 0;
	if (!job->has_tail) {
		*data = icv;
		*iova = rte_pktmbuf_iova_offset(job->buf, job->digest_at);
		return;
	}
	/* The tail takes the ICV's place while the device works. */
	if (job->encrypt) {
		x->digest_at = job->digest_at;
		x->digest_len = job->digest_len;
	} else {
		memcpy(x->digest, icv, job->digest_len);
	}
	memcpy(icv, job->tail, sizeof(job->tail));
	*data = x->digest;
	*iova = op_iova(op, offsetof(struct extra, digest));
}

static void build(struct rte_crypto_op *op, const struct shim_crypto_job *job)
{
	struct rte_crypto_sym_op *sym = op->sym;
	struct extra *x = extra(op);

	x->cookie = job->cookie;
	memcpy(x->iv, job->iv, sizeof(x->iv));
	rte_crypto_op_attach_sym_session(op, job->session);
	sym->m_src = job->buf;
	sym->m_dst = NULL;
	if (job->kind == SHIM_CRYPTO_DO_AEAD) {
		memcpy(x->aad, job->aad, sizeof(x->aad));
		sym->aead.data.offset = job->cipher_at;
		sym->aead.data.length = job->cipher_len;
		sym->aead.aad.data = x->aad;
		sym->aead.aad.phys_addr = op_iova(op, offsetof(struct extra, aad));
		place_digest(op, job, &sym->aead.digest.data, &sym->aead.digest.phys_addr);
		return;
	}
	sym->cipher.data.offset = job->cipher_at;
	sym->cipher.data.length = job->cipher_len;
	sym->auth.data.offset = job->auth_at;
	sym->auth.data.length = job->auth_len + (job->has_tail ? sizeof(job->tail) : 0);
	if (job->kind == SHIM_CRYPTO_DO_CIPHER) {
		x->digest_len = 0;
		return;
	}
	place_digest(op, job, &sym->auth.digest.data, &sym->auth.digest.phys_addr);
}

/* Gives the first jobs to the device, and returns how many; the packets of the others are as they were. */
uint16_t shim_crypto_enqueue(uint8_t device, uint16_t queue, struct rte_mempool *pool,
	const struct shim_crypto_job *jobs, uint16_t n)
{
	struct rte_crypto_op *ops[SHIM_CRYPTO_BURST];
	uint16_t sent;

	n = RTE_MIN(n, (uint16_t)SHIM_CRYPTO_BURST);
	if (n == 0 || rte_crypto_op_bulk_alloc(pool, RTE_CRYPTO_OP_TYPE_SYMMETRIC, ops, n) != n)
		return 0;
	for (uint16_t i = 0; i < n; i++)
		build(ops[i], &jobs[i]);
	sent = rte_cryptodev_enqueue_burst(device, queue, ops, n);
	for (uint16_t i = sent; i < n; i++) {
		if (jobs[i].has_tail && !jobs[i].encrypt)
			memcpy(rte_pktmbuf_mtod_offset(jobs[i].buf, uint8_t *, jobs[i].digest_at),
				extra(ops[i])->digest, jobs[i].digest_len);
	}
	if (sent < n)
		rte_mempool_put_bulk(pool, (void **)&ops[sent], n - sent);
	return sent;
}

uint16_t shim_crypto_dequeue(uint8_t device, uint16_t queue, struct shim_crypto_done *done, uint16_t n)
{
	struct rte_crypto_op *ops[SHIM_CRYPTO_BURST];

	n = rte_cryptodev_dequeue_burst(device, queue, ops, RTE_MIN(n, (uint16_t)SHIM_CRYPTO_BURST));
	for (uint16_t i = 0; i < n; i++) {
		const struct extra *x = extra(ops[i]);

		done[i].cookie = x->cookie;
		done[i].ok = ops[i]->status == RTE_CRYPTO_OP_STATUS_SUCCESS;
		if (x->digest_len != 0)
			memcpy(rte_pktmbuf_mtod_offset(ops[i]->sym->m_src, uint8_t *, x->digest_at), x->digest,
				x->digest_len);
	}
	if (n != 0)
		rte_mempool_put_bulk(ops[0]->mempool, (void **)ops, n);
	return n;
}
