extern int weir_placeholder_loop; int weir_placeholder_loop;
