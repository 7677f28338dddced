import numpy as np
import pytest

from distill.rows import BLOCK_BYTES, Rows, blocks, take

BASE = np.arange(20 * 3 * 4, dtype=np.float32).reshape(20, 3, 4)
INDEX = np.array([1, 2, 5, 11, 19])


@pytest.mark.parametrize(
    "key",
    [3, -1, np.int64(2), slice(1, 4), slice(None, None, -2), [0, 4], INDEX < 6, (3, 1),
     (slice(None), 0, 0), (slice(0, 2), slice(None), slice(2)), (slice(None), [2, 0])],
    ids=str,
)  # fmt: skip
def test_rows_are_read_like_the_array_they_stand_for(key):
    np.testing.assert_array_equal(Rows(BASE, INDEX)[key], BASE[INDEX][key])


def test_rows_tell_their_size_and_become_an_array():
    rows = Rows(BASE, INDEX)
    assert (len(rows), rows.shape, rows.ndim, rows.dtype) == (5, (5, 3, 4), 3, np.float32)
    assert rows.nbytes == BASE[INDEX].nbytes
    assert [row[0, 0] for row in rows] == BASE[INDEX, 0, 0].tolist()
    np.testing.assert_array_equal(np.ascontiguousarray(rows, np.float64), BASE[INDEX])
    with pytest.raises(ValueError, match="without a copy"):
        np.asarray(rows, copy=False)
    with pytest.raises(IndexError):
        rows[5]


def test_rows_of_rows_and_neighbours():
    np.testing.assert_array_equal(take(Rows(BASE, INDEX), np.array([0, 3])), BASE[[1, 11]])
    neighbours = take(BASE, np.arange(4, 9))
    assert np.shares_memory(neighbours, BASE)
    np.testing.assert_array_equal(neighbours, BASE[4:9])
    assert len(take(BASE, np.array([], dtype=np.int64))) == 0


def test_blocks_are_all_rows_in_order_and_small():
    row = np.zeros(BLOCK_BYTES // 4 // 3, np.float32)  # three rows a block, a fourth does not fit
    base = np.lib.stride_tricks.as_strided(row, (8, len(row)), (0, 4))
    assert [len(block) for block in blocks(base)] == [3, 3, 2]
    assert [len(block) for block in blocks(Rows(base, np.arange(0, 8, 2)))] == [3, 1]
    np.testing.assert_array_equal(np.concatenate(list(blocks(Rows(BASE, INDEX)))), BASE[INDEX])
