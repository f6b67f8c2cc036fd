extern int weir_placeholder_observe; int weir_placeholder_observe;
