package cli

// stores are the places of a standalone weir's stores, by the variables that
// name them in configs.
func (d DataDir) stores() map[string]string {
	return map[string]string{
		"WEIR_DATA":            string(d),
		"WEIR_RAW_URL":         d.RawURL(),
		"WEIR_DEAD_LETTER_URL": d.DeadLetterURL(),
		"WEIR_ROLLUP_URL":      d.RollupURL(),
		"WEIR_CONTROL_URL":     d.ControlURL(),
		"WEIR_CLAIMS_URL":      d.ClaimsURL(),
		"WEIR_SCHEMAS_URL":     d.ControlURL(),
		"WEIR_SCHEMAS_CACHE":   d.SchemasDir(),
	}
}
