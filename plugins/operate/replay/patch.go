package replay

import (
	"fmt"

	"github.com/redpanda-data/benthos/v4/public/bloblang"
	"github.com/redpanda-data/benthos/v4/public/service"
)

// patcher repairs what a dead letter holds, before it goes back. Mappings are
// pure: they see the event, and neither files nor the environment.
type patcher struct{ mapping *bloblang.Executor }

func newPatcher(text string) (*patcher, error) {
	if text == "" {
		return &patcher{}, nil
	}
	mapping, err := bloblang.GlobalEnvironment().OnlyPure().WithDisabledImports().Parse(text)
	if err != nil {
		return nil, fmt.Errorf("patch: it is no Bloblang mapping: %w", err)
	}
	return &patcher{mapping}, nil
}

func checkPatch(text string) error {
	if len(text) > maxPatch {
		return fmt.Errorf("patch: at most %d bytes", maxPatch)
	}
	_, err := newPatcher(text)
	return err
}

// apply returns the repaired bytes: the event, with what the patch assigns
// changed. One that deletes the event says that it is not to be redriven: ok is
// false.
func (p *patcher) apply(original []byte) (repaired []byte, ok bool, err error) {
	if p.mapping == nil {
		return original, true, nil
	}
	msg, err := service.NewMessage(original).BloblangMutate(p.mapping)
	if err != nil {
		return nil, false, fmt.Errorf("patching: %w", err)
	}
	if msg == nil {
		return nil, false, nil
	}
	repaired, err = msg.AsBytes()
	if err != nil {
		return nil, false, fmt.Errorf("patching: %w", err)
	}
	return repaired, true, nil
}
