package rule

// Most rules of a set have the same key, and most events find something open of it in
// several of them. What these have of a key is found with one look, where each would look
// into a map of its own, in memory that nothing else has used since the last event of that key.

// peers are what the rules of a group have of a key: nil of those that have nothing.
type peers struct {
	name   string
	states []*keyState
	n      int
}

// together is a group of operators with the same key.
type together struct {
	size int
	keys map[string]*peers
}

// ungrouped is the group of an operator that looks for itself.
const ungrouped = -1

// put puts operators with the same key together, where there are several.
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

// find is what an operator has of the key of the event at hand.
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

// nameOf is the key of the event at hand, as a text that all who have it share.
func (p *partition) nameOf(op *operator) string {
	if op.group != ungrouped && p.peers != nil {
		return p.peers.name
	}
	return string(p.key)
}

// admit takes a key in.
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

// dismiss lets a key go.
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
