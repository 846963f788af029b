"""A run of training steps, as each thread of a parallel region goes through it.

    shards    each thread takes its shards of the batch forward and backward, into the shard's own gradient
    barrier   if the shards were broken off, the run ends here, and theta is that of the step before
    clipping  only with a longest gradient: each thread sums its chunks over shards, and measures them; barrier
    update    each thread takes its chunks of the parameters: sum over shards, step of the rule, sum of squares
    barrier
"""

from cython cimport floating
from libc.math cimport HUGE_VAL, NAN, fabs, sqrt
from libc.stdint cimport int64_t
from libc.string cimport memcpy

from skbce.kernels.network cimport summed_gradient
from skbce.kernels.parallel cimport (
    CHUNK, Region, cut, seconds_now, shard_count, thread_count, thread_number, wait_for_all,
)
from skbce.kernels.pauses cimport Pause, is_over
from skbce.kernels.subnormals cimport flush_subnormals, keep_subnormals
from skbce.kernels.sums cimport sum_of, sum_of_gradient_squares, sum_of_squares
from skbce.kernels.table cimport are_rows, row_number
from skbce.kernels.updates cimport ADAM, Step, UpdateRule, adam_rate, update
from skbce.kernels.views cimport DropoutView, NetworkView, SampleView, WorkspaceView

cdef extern from "publish.h":
    bint can_publish "SKBCE_PUBLISHES"
    void publish "skbce_publish" (char* to, const char* source, Py_ssize_t n) noexcept nogil
    void end_publishing "skbce_end_publishing" () noexcept nogil


cdef struct Run:
    const NetworkView* net
    const SampleView* sample
    const UpdateRule* rule
    const double* rates        # the learning rate of each batch of the epoch, or NULL
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
    Region region
    Pause* pause
    bint strays                # OUT: whether the order named a row that the table does not have; the run ended there


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
    const floating* theta, Py_ssize_t start, Py_ssize_t stop, Py_ssize_t n_shards, Pause* pause,
) noexcept nogil:
    """this thread's shards of rows start .. stop: losses[shard] and the shard's gradient"""
    cdef Py_ssize_t shard = thread_number(), n_threads = thread_count()
    cdef floating* block = <floating*>work.blocks + thread_number() * work.block_size
    while shard < n_shards:
        work.losses[shard] = summed_gradient(
            net, theta, sample, dropout,
            start + cut(stop - start, n_shards, shard), start + cut(stop - start, n_shards, shard + 1),
            work.block_rows, block, pause, <floating*>work.gradients + shard * work.gradient_size,
        )
        shard += n_threads


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


cdef inline void chunk_bounds(
    const NetworkView* net, Py_ssize_t chunk, Py_ssize_t* begin, Py_ssize_t* end
) noexcept nogil:
    """where chunk 0, 1, .. of theta begins and ends: those of W come first, then those of b"""
    cdef Py_ssize_t n_W = net.b_start[0], W_chunks = chunk_count(n_W)
    if chunk < W_chunks:
        begin[0] = chunk * CHUNK
        end[0] = min(begin[0] + CHUNK, n_W)
    else:
        begin[0] = n_W + (chunk - W_chunks) * CHUNK
        end[0] = min(begin[0] + CHUNK, net.n_parameters)


cdef inline Py_ssize_t all_chunks(const NetworkView* net) noexcept nogil:
    """chunks of theta"""
    return chunk_count(net.b_start[0]) + chunk_count(net.n_parameters - net.b_start[0])


cdef inline Py_ssize_t first_chunk(const NetworkView* net, Py_ssize_t thread) noexcept nogil:
    """where the chunks of a thread begin; those of the next one begin where they end"""
    return cut(all_chunks(net), thread_count(), thread)


cdef inline void measure_chunks(
    const NetworkView* net, const UpdateRule* rule, const WorkspaceView* work, Py_ssize_t n_shards,
    double scale, const floating* theta,
) noexcept nogil:
    """this thread's chunks: the gradient summed over shards, and its squares left in gradient_squares[chunk]"""
    cdef Py_ssize_t W_chunks = chunk_count(net.b_start[0]), chunk, begin, end
    for chunk in range(first_chunk(net, thread_number()), first_chunk(net, thread_number() + 1)):
        chunk_bounds(net, chunk, &begin, &end)
        sum_shards(work, theta, n_shards, begin, end)
        work.gradient_squares[chunk] = sum_of_gradient_squares(
            rule.alpha if chunk < W_chunks else 0, scale, end - begin,
            <const floating*>work.gradients + begin, theta + begin,
        )


cdef inline double clipping(const NetworkView* net, const UpdateRule* rule, const WorkspaceView* work) noexcept nogil:
    """min(1, max_grad_norm / |g|), for |g| from what `measure_chunks` left"""
    cdef double norm = sqrt(sum_of(all_chunks(net), work.gradient_squares))
    # Squares that overflow end the training with an error; with a factor of 0 it would stand still.
    if norm == HUGE_VAL:
        return NAN
    return rule.max_grad_norm / norm if norm > rule.max_grad_norm else 1


cdef inline void update_chunk(
    const UpdateRule* rule, const WorkspaceView* work, const Step* step, Py_ssize_t chunk, bint is_W,
    Py_ssize_t begin, Py_ssize_t end, floating* theta_chunk, floating* moment1, floating* moment2,
) noexcept nogil:
    """a step of begin .. end, which lie in theta_chunk, by the sums in gradient_0; and W's squares after it"""
    update(
        rule, step, end - begin, <floating*>work.gradients + begin, theta_chunk, moment1 + begin,
        moment2 + begin if moment2 != NULL else NULL,
    )
    if is_W and rule.alpha > 0:
        work.squares[chunk] = sum_of_squares(end - begin, <const floating*>theta_chunk)


cdef inline void update_chunks(
    const NetworkView* net, const UpdateRule* rule, const WorkspaceView* work, Py_ssize_t n_shards,
    const Step* step, floating* theta, floating* moment1, floating* moment2,
) noexcept nogil:
    """this thread's chunks of theta, W first and then b, which has no L2 term and no decay; 1 shard: summed before"""
    cdef Py_ssize_t W_chunks = chunk_count(net.b_start[0]), chunk, begin, end
    cdef Step of_W = step[0], of_b = step[0]
    cdef Step* of
    cdef bint is_W, publishes = can_publish and thread_count() > 1
    cdef floating[CHUNK] stepped
    of_b.alpha = 0
    of_b.shrink = 0
    for chunk in range(first_chunk(net, thread_number()), first_chunk(net, thread_number() + 1)):
        chunk_bounds(net, chunk, &begin, &end)
        is_W = chunk < W_chunks
        of = &of_W if is_W else &of_b
        sum_shards(work, theta, n_shards, begin, end)
        if publishes:
            memcpy(stepped, theta + begin, (end - begin) * sizeof(floating))
            update_chunk(rule, work, of, chunk, is_W, begin, end, &stepped[0], moment1, moment2)
            publish(<char*>(theta + begin), <const char*>stepped, (end - begin) * <Py_ssize_t>sizeof(floating))
        else:
            update_chunk(rule, work, of, chunk, is_W, begin, end, theta + begin, moment1, moment2)
    if publishes:
        end_publishing()


cdef inline bint are_within(double bound, Py_ssize_t n, const floating* x) noexcept nogil:
    """whether every |x_i| <= bound, which NaN is not"""
    cdef Py_ssize_t i
    cdef bint within = True
    for i in range(n):
        within &= fabs(x[i]) <= bound
    return within


cdef inline void run_steps(Run* run, floating* theta, floating* moment1, floating* moment2) noexcept nogil:
    """all steps of a run; every thread of the region calls it, and the first one keeps the books"""
    cdef Py_ssize_t at = run.start, end, n_shards, n_steps = 0
    cdef Py_ssize_t W_chunks = chunk_count(run.net.b_start[0])
    cdef bint keeps_books = thread_number() == 0, clips = run.rule.max_grad_norm < HUGE_VAL
    cdef DropoutView dropout = run.dropout
    cdef double total, squares
    cdef Step step
    cdef unsigned int floating_point = flush_subnormals()
    step.alpha = run.rule.alpha
    while at < run.stop:
        end = min(at + run.batch_size, run.stop)
        if run.sample.row_ids != NULL and not are_rows(run.sample.row_ids, at, end, run.sample.X.n_rows):
            # Every thread of the region sees the same, so none is left waiting at a barrier.
            if keeps_books:
                run.strays = True
            break
        total = total_weight(run.sample, theta, at, end)
        if total > 0:
            n_steps += 1
            n_shards = shard_count(run.net, end - at)
            squares = 0
            if keeps_books and run.rule.alpha > 0:
                squares = sum_of(W_chunks, run.work.squares)
            dropout.step = run.t + n_steps
            dropout.batch_start = at
            shard_gradients(run.net, run.sample, &dropout, &run.work, theta, at, end, n_shards, run.pause)
            wait_for_all(&run.region.barrier)
            if is_over(run.pause):
                # Nobody breaks off between this barrier and the step's last, so every thread sees the same.
                break
            if keeps_books:
                run.cost_sum += (
                    (sum_of(n_shards, run.work.losses) + 0.5 * run.rule.alpha * squares) / total * (end - at)
                )
                run.rows_counted += end - at
                if seconds_now() > run.deadline:
                    run.stop = end
            step.t = run.t + n_steps
            step.learning_rate = run.rule.learning_rate if run.rates == NULL else run.rates[at // run.batch_size]
            step.shrink = step.learning_rate * run.rule.weight_decay
            step.scale = 1 / total
            if run.rule.solver == ADAM:
                step.adam_rate = adam_rate(run.rule, &step)
            if clips:
                measure_chunks(run.net, run.rule, &run.work, n_shards, step.scale, theta)
                wait_for_all(&run.region.barrier)
                step.scale *= clipping(run.net, run.rule, &run.work)
                n_shards = 1
            update_chunks(run.net, run.rule, &run.work, n_shards, &step, theta, moment1, moment2)
            wait_for_all(&run.region.barrier)
        at = end
    keep_subnormals(floating_point)
    if keeps_books:
        run.n_steps = n_steps
