package cli

// stores returns the URLs of a standalone weir's stores, by the variables of configs.
func (d DataDir) stores() map[string]string {
	return map[string]string{
		"WEIR_DATA":            string(d),
		"WEIR_RAW_URL":         d.rawURL(),
		"WEIR_DEAD_LETTER_URL": d.deadLetterURL(),
		"WEIR_ROLLUP_URL":      d.rollupURL(),
		"WEIR_ROLLUP_OLD_URL":  d.oldRollupURL(),
		"WEIR_CONTROL_URL":     d.controlURL(),
		"WEIR_CLAIMS_URL":      d.claimsURL(),
		"WEIR_SCHEMAS_URL":     d.controlURL(),
		"WEIR_SCHEMAS_CACHE":   d.schemasDir(),

		"WEIR_USER_RAW_URL":         d.userRawURL(),
		"WEIR_USER_DEAD_LETTER_URL": d.userDeadLetterURL(),
		"WEIR_USER_CLAIMS_URL":      d.userClaimsURL(),
	}
}
