package rule

// A partition has hundreds of thousands of keys, each of a few objects: finding those is
// most of what collecting garbage costs. So what nearly every key has lies in one piece of
// memory with it.

// oneSession is a key with room for one session of few columns.
type oneSession struct {
	keyState
	pane  [1]pane
	last  [1]int64
	cells [2]cell
}

// oneSequence is a key of a rule that keeps rows.
type oneSequence struct {
	keyState
	sequence
}

// newKey is a key of a rule of which nothing is kept.
func newKey(name string, of *Rule) *keyState {
	var k *keyState
	switch {
	case of.keepsRows():
		one := &oneSequence{}
		k = &one.keyState
		k.seq = &one.sequence
	case of.window.gap > 0:
		one := &oneSession{}
		k = &one.keyState
		k.panes, k.more = one.pane[:0], one.last[:0]
		if n := len(of.cols); n <= len(one.cells) {
			one.pane[0].cells = one.cells[:n:n]
		}
	default:
		k = &keyState{}
	}
	k.name, k.due = name, never
	return k
}

// room are the cells of a key's first session, if they are there and were never used.
func (k *keyState) room() []cell {
	if len(k.panes) > 0 || cap(k.panes) == 0 {
		return nil
	}
	return k.panes[:1][0].cells
}
