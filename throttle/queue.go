package throttle

// queue is a heap of the numbers of rows: the row that is due first has the place 0.
type queue []int32

func (q *queue) push(rows []row, i int32) {
	*q = append(*q, i)
	q.up(rows, len(*q)-1)
}

func (q *queue) remove(rows []row, i int32) {
	at, last := int(rows[i].place), len(*q)-1
	moved := (*q)[last]
	*q = (*q)[:last]
	if at == last {
		return
	}
	(*q)[at] = moved
	q.up(rows, at)
	q.down(rows, int(rows[moved].place))
}

// up moves the row at a place towards the place 0 until it is in order with those before it.
func (q queue) up(rows []row, at int) {
	i := q[at]
	for at > 0 {
		parent := (at - 1) / 2
		if rows[q[parent]].due <= rows[i].due {
			break
		}
		q.set(rows, at, q[parent])
		at = parent
	}
	q.set(rows, at, i)
}

// down moves the row at a place away from the place 0 until it is in order with those behind it.
func (q queue) down(rows []row, at int) {
	i := q[at]
	for {
		child := 2*at + 1
		if child+1 < len(q) && rows[q[child+1]].due < rows[q[child]].due {
			child++
		}
		if child >= len(q) || rows[i].due <= rows[q[child]].due {
			break
		}
		q.set(rows, at, q[child])
		at = child
	}
	q.set(rows, at, i)
}

func (q queue) set(rows []row, at int, i int32) {
	q[at] = i
	rows[i].place = int32(at)
}
