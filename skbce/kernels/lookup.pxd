"""Networks over encoded columns, without the encoding: their first products are looked up where values lie.

So many rows go through the columns, a few columns at a time, whose W and running sums (kernels/encode.pxd) the
second-level cache holds; then through the layers above. Networks over the same encoding share the search for bins.
A column of few bins, and the value of each, is quicker to multiply than to look up: a product of matrices reads W once
for several rows.
"""

from cython cimport floating
from libc.stdint cimport int32_t, int64_t
from libc.string cimport memcpy

from skbce.kernels.activations cimport fill_rows
from skbce.kernels.elementary cimport are_finite
from skbce.kernels.encode cimport TILE, encode_tile_entries, encode_tile_numbers, is_looked_up
from skbce.kernels.network cimport forward_above
from skbce.kernels.parallel cimport next_task, thread_number
from skbce.kernels.pauses cimport Pause, breaks_off
from skbce.kernels.products cimport gemm, gemv
from skbce.kernels.table cimport add_row
from skbce.kernels.views cimport EncodingView, NetworkView, TableView

cdef enum:
    MOST_NETWORKS = 4
    MOST_ROWS = 1 << 20  # of a block: memory for them is counted in 63 bits
    # Columns of a group, which is one at least, and components: of two columns of 64 bins, with value and indicator.
    # With one of them 60 to 70 columns took 6 to 13 % longer, as Z[1] is read and written for each group; with four
    # nearly as long, and W and sums of two networks (540 kB in float32) leave many second-level caches.
    GROUP_COLUMNS = 16
    GROUP_COMPONENTS = 132
    # Of a row in a group: the run of ones, the component between 0 and 1 and the indicator of each column; and one
    # more, for entries are written before it is known whether they are any.
    ENTRIES = 3 * GROUP_COLUMNS + 1
    # Numbers of a row that are multiplied together, more than one column has: a tile of them fits the first-level
    # cache in float32, and is worth reading and writing Z[1] for.
    NUMBERS = 64


# Networks of one output, over the same encoding.
cdef struct LookupView:
    EncodingView plan
    bint is_double
    void* Z                    # takes the logits, network after network
    Py_ssize_t n_networks
    Py_ssize_t block_rows
    Py_ssize_t sums_size       # of the memory for a network's block: W and its running sums of a group of columns
    Py_ssize_t workspace_size  # and of the workspace behind them
    bint is_finite[MOST_NETWORKS]
    const NetworkView* net[MOST_NETWORKS]
    const void* theta[MOST_NETWORKS]


cdef inline Py_ssize_t column_start(const EncodingView* plan, Py_ssize_t k) noexcept nogil:
    """where in a row of the output column k begins, or its end for the one behind the last"""
    if k == plan.n_columns:
        return plan.width
    return plan.value_at[k] if plan.value_at[k] >= 0 else plan.bins_at[k]


cdef inline bint is_in_order(const EncodingView* plan) noexcept nogil:
    """whether each column's value, components and indicator, as far as it has them, lie behind those before it"""
    cdef Py_ssize_t k, at = 0
    for k in range(plan.n_columns):
        if plan.value_at[k] != -1:
            if plan.value_at[k] != at:
                return False
            at += 1
        if plan.bins_at[k] != at:
            return False
        at += plan.n_bins[k]
        if plan.missing_at[k] != -1:
            if plan.missing_at[k] != at:
                return False
            at += 1
    return at == plan.width


cdef inline Py_ssize_t group_end(const EncodingView* plan, Py_ssize_t k) noexcept nogil:
    """the column behind the group that begins with column k"""
    cdef Py_ssize_t end = k + 1
    while (
        end < plan.n_columns
        and end < k + GROUP_COLUMNS
        and column_start(plan, end + 1) - column_start(plan, k) <= GROUP_COMPONENTS
    ):
        end += 1
    return end


cdef inline Py_ssize_t widest_group(const EncodingView* plan) noexcept nogil:
    """components of the widest group"""
    cdef Py_ssize_t k = 0, end, widest = 0
    while k < plan.n_columns:
        end = group_end(plan, k)
        widest = max(widest, column_start(plan, end) - column_start(plan, k))
        k = end
    return widest


cdef inline EncodingView group_of(const EncodingView* plan, Py_ssize_t start, Py_ssize_t stop) noexcept nogil:
    """the plan of columns start .. stop; its width is where in a row of the output they end"""
    cdef EncodingView group = plan[0]
    group.n_columns = stop - start
    group.width = column_start(plan, stop)
    group.column += start
    group.n_bins += start
    group.edges_start += start
    group.value_at += start
    group.bins_at += start
    group.missing_at += start
    group.center += start
    group.scale += start
    return group


cdef inline Py_ssize_t numbers_of(const EncodingView* plan, Py_ssize_t k) noexcept nogil:
    """how many of column k's components `encode_tile_numbers` gives"""
    if is_looked_up(plan, k):
        return 1 if plan.value_at[k] >= 0 else 0
    return column_start(plan, k + 1) - column_start(plan, k)


cdef inline Py_ssize_t numbers_end(const EncodingView* plan, Py_ssize_t k) noexcept nogil:
    """the column behind those from column k on whose numbers are multiplied together"""
    cdef Py_ssize_t n = numbers_of(plan, k)
    k += 1
    while k < plan.n_columns and n + numbers_of(plan, k) <= NUMBERS:
        n += numbers_of(plan, k)
        k += 1
    return k


cdef inline void weights_of_numbers(
    const EncodingView* plan, Py_ssize_t n_out, const floating* W, floating* out
) noexcept nogil:
    """the rows of W that the numbers of a group of columns are multiplied by"""
    cdef Py_ssize_t k, n
    for k in range(plan.n_columns):
        # A value comes first, so that these are the first of a column's in any case.
        n = numbers_of(plan, k) * n_out
        memcpy(out, W + column_start(plan, k) * n_out, n * sizeof(floating))
        out += n


cdef inline void weights_and_sums(
    const EncodingView* plan, Py_ssize_t n_out, const floating* W, floating* out
) noexcept nogil:
    """of a group's components j that are looked up, rows 2j are W[j]; rows 2j + 1 the sum of W over its column's
    components up to j
    """
    cdef Py_ssize_t first = column_start(plan, 0), at, k, t, i
    cdef floating* sums
    for k in range(plan.n_columns):
        if not is_looked_up(plan, k):
            continue
        for at in range(plan.bins_at[k], column_start(plan, k + 1)):
            memcpy(out + 2 * (at - first) * n_out, W + at * n_out, n_out * sizeof(floating))
        for t in range(plan.n_bins[k]):
            at = plan.bins_at[k] + t
            sums = out + (2 * (at - first) + 1) * n_out
            if t == 0:
                memcpy(sums, W + at * n_out, n_out * sizeof(floating))
                continue
            for i in range(n_out):
                sums[i] = sums[i - 2 * n_out] + W[at * n_out + i]


cdef inline const floating* weights(const LookupView* lookup, Py_ssize_t m, floating like) noexcept nogil:
    """W[1] of network m"""
    return <const floating*>lookup.theta[m] + lookup.net[m].W_start[0]


cdef inline floating* first_layer(const LookupView* lookup, Py_ssize_t m, floating* memory) noexcept nogil:
    """where a block's Z[1] of network m lies"""
    cdef floating* workspace = memory + lookup.n_networks * lookup.sums_size + m * lookup.workspace_size
    return workspace + lookup.block_rows * lookup.net[m].A_start[1]


cdef inline void first_layers(
    const LookupView* lookup, const TableView* X, Py_ssize_t start, Py_ssize_t rows, floating* memory,
) noexcept nogil:
    """Z[1] = b[1] + A[0] W[1] of each network, A[0] being the rows' encoding"""
    cdef const EncodingView* plan = &lookup.plan
    cdef EncodingView group
    cdef const NetworkView* net
    cdef Py_ssize_t m, k = 0, end
    for m in range(lookup.n_networks):
        net = lookup.net[m]
        fill_rows(
            rows, net.units[1], <const floating*>lookup.theta[m] + net.b_start[0], first_layer(lookup, m, memory)
        )
    while k < plan.n_columns:
        end = numbers_end(plan, k)
        group = group_of(plan, k, end)
        add_numbers(lookup, X, &group, start, rows, memory)
        k = end
    k = 0
    while k < plan.n_columns:
        end = group_end(plan, k)
        group = group_of(plan, k, end)
        add_group(lookup, X, &group, start, rows, memory)
        k = end


cdef inline void add_numbers(
    const LookupView* lookup, const TableView* X, const EncodingView* group, Py_ssize_t start, Py_ssize_t rows,
    floating* memory,
) noexcept nogil:
    """Z[1] += A[0] W[1] of each network, over the numbers of a group of columns"""
    cdef floating[TILE * NUMBERS] A
    cdef floating* W
    cdef floating* Z
    cdef Py_ssize_t m, n, n_numbers, at = 0, tile
    for m in range(lookup.n_networks):
        weights_of_numbers(group, lookup.net[m].units[1], weights(lookup, m, memory[0]), memory + m * lookup.sums_size)
    while at < rows:
        tile = min(<Py_ssize_t>TILE, rows - at)
        n_numbers = encode_tile_numbers(X, group, start + at, tile, A)
        if n_numbers == 0:
            return
        for m in range(lookup.n_networks):
            n = lookup.net[m].units[1]
            W = memory + m * lookup.sums_size
            Z = first_layer(lookup, m, memory) + at * n
            if n == 1:
                gemv(True, <int>n_numbers, <int>tile, A, TILE, W, <floating>1, Z)
            else:
                gemm(True, False, tile, n, n_numbers, A, TILE, W, n, Z, n, False, Z)
        at += tile


cdef inline bint has_looked_up(const EncodingView* group) noexcept nogil:
    cdef Py_ssize_t k
    for k in range(group.n_columns):
        if is_looked_up(group, k):
            return True
    return False


cdef inline void add_group(
    const LookupView* lookup, const TableView* X, const EncodingView* group, Py_ssize_t start, Py_ssize_t rows,
    floating* memory,
) noexcept nogil:
    """Z[1] += A[0] W[1] of each network, over the components that are looked up of a group of columns"""
    cdef int32_t[TILE * ENTRIES] indices
    cdef float[TILE * ENTRIES] values
    cdef int64_t[TILE] count
    cdef Py_ssize_t m, n, i, at = 0, tile
    if not has_looked_up(group):
        return
    for m in range(lookup.n_networks):
        weights_and_sums(group, lookup.net[m].units[1], weights(lookup, m, memory[0]), memory + m * lookup.sums_size)
    while at < rows:
        tile = min(<Py_ssize_t>TILE, rows - at)
        encode_tile_entries(
            X, group, start + at, tile, column_start(group, 0), ENTRIES, indices, values, count
        )
        for m in range(lookup.n_networks):
            n = lookup.net[m].units[1]
            for i in range(tile):
                add_row(
                    i * ENTRIES, i * ENTRIES + count[i], indices, values, False, n, memory + m * lookup.sums_size,
                    first_layer(lookup, m, memory) + (at + i) * n,
                )
        at += tile


cdef inline void look_up_block(
    LookupView* lookup, const TableView* X, Py_ssize_t block, floating* memory
) noexcept nogil:
    """Z[L] of a block's rows by each network; with the first block whether theta is finite"""
    cdef Py_ssize_t at = block * lookup.block_rows, rows = min(lookup.block_rows, X.n_rows - at), m
    cdef floating* workspace
    cdef const floating* Z_block
    first_layers(lookup, X, at, rows, memory)
    for m in range(lookup.n_networks):
        workspace = memory + lookup.n_networks * lookup.sums_size + m * lookup.workspace_size
        Z_block = forward_above(lookup.net[m], <const floating*>lookup.theta[m], rows, lookup.block_rows, workspace)
        memcpy(<floating*>lookup.Z + m * X.n_rows + at, Z_block, rows * sizeof(floating))
        if block == 0:
            lookup.is_finite[m] = are_finite(lookup.net[m].n_parameters, <const floating*>lookup.theta[m])


cdef inline void look_up(
    LookupView** lookups, Py_ssize_t n_lookups, const TableView* X, Py_ssize_t n_blocks, Py_ssize_t memory_size,
    double* memory, int* task, Pause* pause,
) noexcept nogil:
    """the logits of all blocks by all lookups; the threads of the region take one after the other"""
    cdef Py_ssize_t mine
    cdef LookupView* lookup
    memory += thread_number() * memory_size
    while not breaks_off(pause):
        mine = next_task(task)
        if mine >= n_lookups * n_blocks:
            return
        lookup = lookups[mine // n_blocks]
        if lookup.is_double:
            look_up_block(lookup, X, mine % n_blocks, memory)
        else:
            look_up_block(lookup, X, mine % n_blocks, <float*>memory)
