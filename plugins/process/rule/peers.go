package rule

// Most rules of a set have the same key, and most events find state of their key in several rules. Rules with the
// same key share one map, so that an event costs one lookup instead of one for each rule; each lookup would miss
// the CPU cache.

// peers are the states that the rules of a group have for one key, by operator.peer; nil where a rule has none.
type peers struct {
	name   string
	states []*keyState
	n      int
}

// together is a group of operators with the same key expressions.
type together struct {
	size int
	keys map[string]*peers
}

// ungrouped is the group of an operator that shares its key expressions with no other, and uses its own map.
const ungrouped = -1

// put groups the operators that have the same key expressions.
func (p *partition) put() {
	of := map[string][]*operator{}
	for _, op := range p.ops {
		of[op.keyText] = append(of[op.keyText], op)
	}
	for _, op := range p.ops {
		list := of[op.keyText]
		if len(list) < 2 || op.group != ungrouped {
			continue
		}
		for i, one := range list {
			one.group, one.peer = len(p.groups), i
		}
		p.groups = append(p.groups, together{len(list), map[string]*peers{}})
	}
}

// find returns the state of the current event's key in an operator, nil for none.
func (p *partition) find(op *operator) *keyState {
	if op.group == ungrouped {
		return op.keys[string(p.key)]
	}
	if !p.found {
		p.peers, p.found = p.groups[op.group].keys[string(p.key)], true
	}
	if p.peers == nil {
		return nil
	}
	return p.peers.states[op.peer]
}

// nameOf returns the current event's key as a string, which the peers of a group share.
func (p *partition) nameOf(op *operator) string {
	if op.group != ungrouped && p.peers != nil {
		return p.peers.name
	}
	return string(p.key)
}

// admit adds a key to an operator.
func (p *partition) admit(op *operator, k *keyState) {
	if op.group != ungrouped {
		g := &p.groups[op.group]
		all := g.keys[k.name]
		if all == nil {
			all = &peers{name: k.name, states: make([]*keyState, g.size)}
			g.keys[k.name] = all
		}
		k.name, all.states[op.peer] = all.name, k
		all.n++
		p.found = false
	}
	op.keys[k.name] = k
}

// dismiss removes a key from an operator.
func (p *partition) dismiss(op *operator, k *keyState) {
	delete(op.keys, k.name)
	if op.group == ungrouped {
		return
	}
	g := &p.groups[op.group]
	all := g.keys[k.name]
	all.states[op.peer] = nil
	if all.n--; all.n == 0 {
		delete(g.keys, k.name)
	}
	p.found = false
}
