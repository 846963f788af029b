"""A run of training steps, as each thread of a parallel region goes through it.

    shards    each thread takes its shards of the batch forward and backward, into the shard's own gradient
    barrier
    update    each thread takes its chunks of the parameters: sum over shards, step of the rule, sum of squares
    barrier
"""

from cython cimport floating
from libc.stdint cimport int64_t

from skbce.kernels.network cimport summed_gradient
from skbce.kernels.parallel cimport CHUNK, barrier, cut, seconds_now, shard_count, thread_count, thread_number
from skbce.kernels.table cimport row_number
from skbce.kernels.updates cimport UpdateRule, sum_of_squares, update
from skbce.kernels.views cimport DropoutView, NetworkView, SampleView, WorkspaceView


cdef struct Run:
    const NetworkView* net
    const SampleView* sample
    const UpdateRule* rule
    DropoutView dropout        # its step and batch_start are each thread's own
    WorkspaceView work
    int64_t t                  # steps before this run
    Py_ssize_t start
    Py_ssize_t stop            # OUT: where the run ended, if its time was over before
    Py_ssize_t batch_size
    double deadline            # by seconds_now; no step begins after it, but the first one
    double cost_sum            # OUT, as are the next two
    Py_ssize_t rows_counted
    Py_ssize_t n_steps


cdef inline double total_weight(
    const SampleView* sample, const floating* like, Py_ssize_t start, Py_ssize_t stop
) noexcept nogil:
    """the rows start .. stop counted, or their weights summed; `like` only tells the dtype"""
    cdef double total = 0
    cdef Py_ssize_t i
    if sample.weight == NULL:
        return stop - start
    for i in range(start, stop):
        total += (<const floating*>sample.weight)[row_number(sample.row_ids, i, 0)]
    return total


cdef inline void shard_gradients(
    const NetworkView* net, const SampleView* sample, const DropoutView* dropout, const WorkspaceView* work,
    const floating* theta, Py_ssize_t start, Py_ssize_t stop, Py_ssize_t n_shards,
) noexcept nogil:
    """this thread's shards of rows start .. stop: losses[shard] and the shard's gradient"""
    cdef Py_ssize_t shard = thread_number(), n_threads = thread_count()
    cdef floating* block = <floating*>work.blocks + thread_number() * work.block_size
    while shard < n_shards:
        work.losses[shard] = summed_gradient(
            net, theta, sample, dropout,
            start + cut(stop - start, n_shards, shard), start + cut(stop - start, n_shards, shard + 1),
            work.block_rows, block, <floating*>work.gradients + shard * work.gradient_size,
        )
        shard += n_threads


cdef inline double sum_of(Py_ssize_t n, const double* x) noexcept nogil:
    """x_0 + .. + x_{n-1}, in this order"""
    cdef double total = 0
    cdef Py_ssize_t i
    for i in range(n):
        total += x[i]
    return total


cdef inline void sum_shards(
    const WorkspaceView* work, const floating* like, Py_ssize_t n_shards, Py_ssize_t begin, Py_ssize_t end
) noexcept nogil:
    """gradient_0[i] += gradient_s[i] for s = 1, 2, .. and i in begin .. end; `like` only tells the dtype"""
    cdef floating* first = <floating*>work.gradients
    cdef const floating* other
    cdef Py_ssize_t shard, i
    for shard in range(1, n_shards):
        other = first + shard * work.gradient_size
        for i in range(begin, end):
            first[i] += other[i]


cdef inline Py_ssize_t chunk_count(Py_ssize_t n) noexcept nogil:
    """chunks of n parameters"""
    return (n + CHUNK - 1) // CHUNK


cdef inline void squares_of_chunks(
    const NetworkView* net, const WorkspaceView* work, const floating* theta
) noexcept nogil:
    """squares[chunk] = sum of W^2 over the chunk, as the updates leave it"""
    cdef Py_ssize_t n_W = net.b_start[0], chunk
    for chunk in range(chunk_count(n_W)):
        work.squares[chunk] = sum_of_squares(min(<Py_ssize_t>CHUNK, n_W - chunk * CHUNK), theta + chunk * CHUNK)


cdef inline void update_chunks(
    const NetworkView* net, const UpdateRule* rule, const WorkspaceView* work, Py_ssize_t n_shards,
    double total, int64_t t, floating* theta, floating* moment1, floating* moment2,
) noexcept nogil:
    """this thread's chunks of theta, W first and then b, which has no L2 term"""
    cdef Py_ssize_t n_W = net.b_start[0], W_chunks = chunk_count(n_W)
    cdef Py_ssize_t n_chunks = W_chunks + chunk_count(net.n_parameters - n_W)
    cdef Py_ssize_t chunk, begin, end
    cdef Py_ssize_t first = cut(n_chunks, thread_count(), thread_number())
    cdef Py_ssize_t last = cut(n_chunks, thread_count(), thread_number() + 1)
    cdef bint is_W
    for chunk in range(first, last):
        is_W = chunk < W_chunks
        begin = chunk * CHUNK if is_W else n_W + (chunk - W_chunks) * CHUNK
        end = min(begin + CHUNK, n_W if is_W else net.n_parameters)
        sum_shards(work, theta, n_shards, begin, end)
        update(
            rule, rule.alpha if is_W else 0, total, t, end - begin, <floating*>work.gradients + begin,
            theta + begin, moment1 + begin, moment2 + begin if moment2 != NULL else NULL,
        )
        if is_W and rule.alpha > 0:
            work.squares[chunk] = sum_of_squares(end - begin, theta + begin)


cdef inline void run_steps(Run* run, floating* theta, floating* moment1, floating* moment2) noexcept nogil:
    """all steps of a run; every thread of the region calls it, and the first one keeps the books"""
    cdef Py_ssize_t at = run.start, end, n_shards, n_steps = 0
    cdef Py_ssize_t W_chunks = chunk_count(run.net.b_start[0])
    cdef bint keeps_books = thread_number() == 0
    cdef DropoutView dropout = run.dropout
    cdef double total, squares
    while at < run.stop:
        end = min(at + run.batch_size, run.stop)
        total = total_weight(run.sample, theta, at, end)
        if total > 0:
            n_steps += 1
            n_shards = shard_count(run.net, end - at)
            squares = 0
            if keeps_books and run.rule.alpha > 0:
                squares = sum_of(W_chunks, run.work.squares)
            dropout.step = run.t + n_steps
            dropout.batch_start = at
            shard_gradients(run.net, run.sample, &dropout, &run.work, theta, at, end, n_shards)
            barrier()
            if keeps_books:
                run.cost_sum += (
                    (sum_of(n_shards, run.work.losses) + 0.5 * run.rule.alpha * squares) / total * (end - at)
                )
                run.rows_counted += end - at
                if seconds_now() > run.deadline:
                    run.stop = end
            update_chunks(
                run.net, run.rule, &run.work, n_shards, total, run.t + n_steps, theta, moment1, moment2
            )
            barrier()
        at = end
    if keeps_books:
        run.n_steps = n_steps
