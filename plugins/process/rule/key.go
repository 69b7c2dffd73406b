package rule

// A partition may have hundreds of thousands of keys, and most of the cost of garbage collection is finding their
// objects. So what nearly every key has is allocated with it, as one object.

// oneSession is a key with room for one session, and for two columns of it.
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

// newKey returns an empty key of a rule.
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

// room returns the cells that were allocated with a key, if it has no session yet; else nil.
func (k *keyState) room() []cell {
	if len(k.panes) > 0 || cap(k.panes) == 0 {
		return nil
	}
	return k.panes[:1][0].cells
}
